#!/usr/bin/env bash
# onnxruntime 1.31.0, Linux wheel: importing it makes an ID of the device and a store of events to send.
#
# Since 1.29.0 the official builds for Linux report about processes, sessions and models over HTTPS, as the builds for
# Windows did before (https://github.com/microsoft/onnxruntime/pull/27379). onnxruntime.disable_telemetry_events(), the
# call that Python offers, needs the import, and by then the ID and the store are written. ORT_DISABLE_TELEMETRY=1 in
# the environment before the import prevents both. CI services are recognised by their variables and left alone, so
# that a pipeline shows nothing of it.
#
# Seen, files below the home folder:
#   import alone: deviceid onnxruntime.db
#   import, then disable_telemetry_events(): deviceid onnxruntime.db
#   with CI=true: none
#   with ORT_DISABLE_TELEMETRY=1: none
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet onnxruntime==1.31.0 numpy==2.4.6

files() { # what Python does, then further variables
    rm -rf home && mkdir home
    env -i HOME="$folder/home" PATH=/usr/bin:/bin "${@:2}" "$folder/env/bin/python" -c "$1"
    find home -type f -printf '%f\n' | sort | xargs
}

both="deviceid onnxruntime.db"
alone=$(files "import onnxruntime")
after=$(files "import onnxruntime; onnxruntime.disable_telemetry_events()")
ci=$(files "import onnxruntime" CI=true)
off=$(files "import onnxruntime" ORT_DISABLE_TELEMETRY=1)
echo "import alone: ${alone:-none}"
echo "import, then disable_telemetry_events(): ${after:-none}"
echo "with CI=true: ${ci:-none}"
echo "with ORT_DISABLE_TELEMETRY=1: ${off:-none}"
[ "$alone" = "$both" ] && [ "$after" = "$both" ] && [ -z "$ci" ] && [ -z "$off" ] || { echo "the behaviour has changed"; exit 1; }
