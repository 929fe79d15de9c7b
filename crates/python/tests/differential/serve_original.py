"""Serves the handlers with the Python original, on the port that is given."""

import sys

import uvicorn
from aissemble_open_inference_protocol_fastapi.aissemble_oip_fastapi import AissembleOIPFastAPI
from handlers import Handlers

app = AissembleOIPFastAPI(Handlers()).server
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
