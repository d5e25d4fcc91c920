"""What may vary: a configuration for each step, and the presets.

`embed`, `nets`, `gbdt` and `blend` declare each field once, with type, bounds, default and description (`shared_fields`
those that several steps have, `groups` the groups of scene sizes); `presets` has the numbers; `checking` refuses what
cannot be, `stored` reads earlier names too, `fields` says what may be typed, and `page` writes docs/options.md.
"""

from atma18.config.blend import BlendConfig
from atma18.config.checking import STRICT
from atma18.config.embed import EMBEDDING, EmbedConfig
from atma18.config.fields import bounds, description, varied
from atma18.config.gbdt import Engine, GbdtConfig
from atma18.config.nets import ATTENTION_HEADS, OF_ENCODER, Modalities, NetConfig, StageConfig
from atma18.config.presets import PRESETS, Preset
from atma18.config.shared_fields import (
    BACKBONES,
    CNN,
    HF,
    LITE0,
    RSUD20K,
    TORCHVISION,
    Pixels,
    Target,
)
from atma18.config.stored import from_json

__all__ = [
    "ATTENTION_HEADS",
    "BACKBONES",
    "CNN",
    "EMBEDDING",
    "HF",
    "LITE0",
    "OF_ENCODER",
    "PRESETS",
    "RSUD20K",
    "STRICT",
    "TORCHVISION",
    "BlendConfig",
    "EmbedConfig",
    "Engine",
    "GbdtConfig",
    "Modalities",
    "NetConfig",
    "Pixels",
    "Preset",
    "StageConfig",
    "Target",
    "bounds",
    "description",
    "from_json",
    "varied",
]
