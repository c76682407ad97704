"""Lets buf call the gRPC generator that grpcio-tools carries inside its protoc; see buf.gen.python.yaml."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def generate(request: CodeGeneratorRequest, folder: Path) -> CodeGeneratorResponse:
    """What protoc writes for the files of a request."""
    descriptors = folder / "descriptors.binpb"
    descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
    options = [f"--descriptor_set_in={descriptors}", f"--grpc_python_out={request.parameter}:{folder}"]
    if protoc.main(["protoc", *options, *request.file_to_generate]):
        return CodeGeneratorResponse(error="protoc failed")
    written = sorted(folder.rglob("*_grpc.py"))
    files = [
        CodeGeneratorResponse.File(name=path.relative_to(folder).as_posix(), content=path.read_text())
        for path in written
    ]
    return CodeGeneratorResponse(file=files, supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        asked = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
        sys.stdout.buffer.write(generate(asked, Path(temporary)).SerializeToString())
