"""All six steps in one process, with the options of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from atma18.config import EMBEDDING, BlendConfig, EmbedConfig, GbdtConfig, NetConfig, Preset
from atma18.motion import MotionConfig
from atma18.pipeline.blend import blend
from atma18.pipeline.embed import embed
from atma18.pipeline.fitted import fitted
from atma18.pipeline.gbdt import STACKED, gbdt
from atma18.pipeline.nets import net
from atma18.pipeline.step import Result
from atma18.run_context import RunContext


@dataclass(frozen=True)
class Configs:
    """The configuration of every step of one `main` that has options."""

    embed: EmbedConfig
    nn1: NetConfig
    nn2: NetConfig
    gbdt: GbdtConfig
    blend: BlendConfig

    @classmethod
    def of(cls, preset: Preset, given: Mapping[str, Any]) -> Self:
        """Replace a preset's values by the given ones.

        Args:
            preset: the base.
            given: `backbone` and `causal` for every step that has them, and `<step>_<field>`, which takes precedence.
        """
        backbone = {"backbone": given["backbone"]} if "backbone" in given else {}
        causal = {"causal": given["causal"]} if "causal" in given else {}

        def of_step(step: str) -> dict[str, Any]:
            return {name.removeprefix(f"{step}_"): v for name, v in given.items() if name.startswith(f"{step}_")}

        # The size of a scene is known only at its end, so a causal blend has one group.
        groups = ((1, None),) if given.get("causal") else preset.blend.groups
        nn1, nn2 = (getattr(preset, step).with_given(backbone | causal | of_step(step)) for step in ("nn1", "nn2"))
        # An encoder that nn1 has trained from the start need not be trained again.
        trained = nn1.stage == nn2.stage == "whole" and nn2.shares_encoder(nn1)
        return cls(
            embed=replace(preset.embed, **backbone | of_step("embed")),
            nn1=nn1,
            nn2=replace(nn2, stage="head") if trained else nn2,
            gbdt=replace(preset.gbdt, **causal, **of_step("gbdt")),
            blend=replace(preset.blend, **{"groups": groups} | of_step("blend")),
        )


def run_all(context: RunContext, configs: Configs, *, reuse: bool) -> dict[str, Result]:
    """Run the six steps in order, each on the runs before it; with `reuse`, take an identical run where one exists."""
    done: dict[str, Result] = {}
    done["motion"] = fitted("motion", context, MotionConfig()).run(reuse=reuse)
    done["embed"] = embed(context, configs.embed).run(reuse=reuse)
    done["nn1"] = net("nn1", context, configs.nn1).run(reuse=reuse)
    start = done["nn1"].upstream.run_id if configs.nn2.stage == "head" else None
    done["nn2"] = net("nn2", context, configs.nn2, start).run(reuse=reuse)
    inputs = {name: done[name].upstream.run_id for name in (EMBEDDING, *STACKED)}
    done["gbdt"] = gbdt(context, configs.gbdt, inputs).run(reuse=reuse)
    blended = [done[name].upstream.run_id for name in context.preset.inputs]
    done["blend"] = blend(context, configs.blend, blended).run(reuse=reuse)
    return done
