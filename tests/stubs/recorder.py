"""Stands in for a plugin of protoc that is not here: writes down, as JSON, what it was asked for."""

import json
import sys

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.json_format import MessageToDict

request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
told = {
    "parameter": request.parameter,
    "generate": list(request.file_to_generate),
    "options": {file.name: MessageToDict(file.options) for file in request.proto_file},
}
written = CodeGeneratorResponse.File(name=f"{sys.argv[1]}.json", content=json.dumps(told))
features = CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
answer = CodeGeneratorResponse(file=[written], supported_features=features)
sys.stdout.buffer.write(answer.SerializeToString())
