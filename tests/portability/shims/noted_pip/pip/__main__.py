"""Notes what pip is asked for, then lets it take the course from a checkout: a test reaches no repository."""

import json
import os
import re
import subprocess
import sys

arguments = sys.argv[1:]
with open(os.environ["NOTED_PIP_LOG"], "a", encoding="utf-8") as log:
    log.write(json.dumps(arguments) + "\n")
local = [re.sub(r"git\+\S+", os.environ["NOTED_PIP_CHECKOUT"], a) for a in arguments]
# -I: without PYTHONPATH, which leads here.
sys.exit(subprocess.call([sys.executable, "-I", "-m", "pip", *local]))
