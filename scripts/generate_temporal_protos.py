"""Writes the part of Temporal's API that the library speaks, as .proto files.

The full API is four times as large as what a client and a worker need, and its generated Swift takes
minutes to compile. This reads the message descriptors inside the `temporalio` wheel, keeps the calls named in
CALLS with every message that they reach, leaves out the features in LEFT_OUT, and writes one file for each
package. Package names, message names and field numbers stay what they are, so the wire format is the real one;
an unknown field that a newer server sends is skipped by the protobuf runtime.

It also writes which answer belongs to which request, as Swift: ServiceRequests.swift.

usage: generate_temporal_protos.py PROTO_FOLDER SWIFT_FOLDER
"""

import importlib
import pathlib
import re
import sys

from google.protobuf import descriptor_pb2

CALLS = {
    "temporal.api.workflowservice.v1.WorkflowService": """
        GetSystemInfo DescribeNamespace RegisterNamespace
        StartWorkflowExecution SignalWorkflowExecution SignalWithStartWorkflowExecution ExecuteMultiOperation
        QueryWorkflow UpdateWorkflowExecution PollWorkflowExecutionUpdate
        TerminateWorkflowExecution RequestCancelWorkflowExecution ResetWorkflowExecution
        DescribeWorkflowExecution GetWorkflowExecutionHistory ListWorkflowExecutions CountWorkflowExecutions
        PollWorkflowTaskQueue RespondWorkflowTaskCompleted RespondWorkflowTaskFailed RespondQueryTaskCompleted
        PollActivityTaskQueue RespondActivityTaskCompleted RespondActivityTaskFailed RespondActivityTaskCanceled
        RecordActivityTaskHeartbeat RespondActivityTaskCompletedById RespondActivityTaskFailedById
        RespondActivityTaskCanceledById RecordActivityTaskHeartbeatById
        ResetStickyTaskQueue ShutdownWorker DescribeTaskQueue
        CreateSchedule DescribeSchedule UpdateSchedule PatchSchedule DeleteSchedule ListSchedules
    """,
    "temporal.api.operatorservice.v1.OperatorService": "AddSearchAttributes ListSearchAttributes",
    "temporal.api.testservice.v1.TestService": """
        LockTimeSkipping UnlockTimeSkipping Sleep SleepUntil UnlockTimeSkippingWithSleep GetCurrentTime
    """,
}

WITHOUT_NAMESPACE = {"GetSystemInfo"}

# Messages that travel inside google.protobuf.Any, so no field names them.
INSIDE_ANY = [
    "temporal.api.update.v1.Request",
    "temporal.api.update.v1.Response",
    "temporal.api.update.v1.Acceptance",
    "temporal.api.update.v1.Rejection",
    "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure",
    "temporal.api.errordetails.v1.QueryFailedFailure",
    "temporal.api.errordetails.v1.MultiOperationExecutionFailure",
]

# Features that the library does not offer: fields of these types are left out.
LEFT_OUT = re.compile(
    r"(?i:nexus)|WorkflowRule|ExternallyEventAttributes"
    r"|temporal\.api\.(callback|compute|rules|cloud|batch|replication|worker)\.|sdk\.v1\.EventGroup"
    r"|Link$|\.Callback$|(?i:deployment)|WorkerVersion|BuildId|VersioningOverride|VersioningInfo"
    r"|VersioningBehavior|VersioningMode|TimeSkipping(?!Request|Response)|Archival|BadBinaries|ResetPoints"
    r"|MeteringMetadata|PollerScaling|ClusterReplication|NamespaceReplication|ReplicationState"
    r"|OnConflictOptions|ExternalPayload|WorkerScalingInfo|PayloadLimits|NamespaceUpdate|ResetOptions"
    r"|RequestIdInfo|PostResetOperation|WorkflowExecutionOptions|TaskQueueVersion|TaskReachability"
    r"|PauseInfo|WorkflowExecutionPause"
)

# Two packages have message names that other packages have too; Swift has one name space.
SWIFT_PREFIXES = {"temporal.api.update.v1": "APIUpdate", "temporal.api.protocol.v1": "APIProtocol"}

WELL_KNOWN = {
    "Duration": "duration",
    "Timestamp": "timestamp",
    "Empty": "empty",
    "FieldMask": "field_mask",
    "Any": "any",
    "Struct": "struct",
    **{f"{kind}Value": "wrappers" for kind in "Int32 Int64 UInt32 UInt64 Float Double Bool String Bytes".split()},
}

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    Field.TYPE_DOUBLE: "double",
    Field.TYPE_FLOAT: "float",
    Field.TYPE_INT64: "int64",
    Field.TYPE_UINT64: "uint64",
    Field.TYPE_INT32: "int32",
    Field.TYPE_UINT32: "uint32",
    Field.TYPE_BOOL: "bool",
    Field.TYPE_STRING: "string",
    Field.TYPE_BYTES: "bytes",
}


def read_files():
    """All files that the three services reach, dependencies first."""
    seen, files = set(), []

    def collect(descriptor):
        if descriptor.name in seen:
            return
        seen.add(descriptor.name)
        for dependency in descriptor.dependencies:
            collect(dependency)
        file = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(file)
        files.append(file)

    for package in ("workflowservice", "operatorservice", "testservice"):
        collect(importlib.import_module(f"temporalio.api.{package}.v1.service_pb2").DESCRIPTOR)
    collect(importlib.import_module("temporalio.api.errordetails.v1.message_pb2").DESCRIPTOR)
    return files


class Pruner:
    """Decides which messages and fields stay."""

    def __init__(self, files):
        self.files = files
        self.messages, self.enums = {}, {}
        for file in files:
            for message in file.message_type:
                self._index(f".{file.package}", message)
            for enum in file.enum_type:
                self.enums[f".{file.package}.{enum.name}"] = enum
        self.kept = set()

    def _index(self, scope, message):
        name = f"{scope}.{message.name}"
        self.messages[name] = message
        for nested in message.nested_type:
            self._index(name, nested)
        for enum in message.enum_type:
            self.enums[f"{name}.{enum.name}"] = enum

    def keep(self, name):
        if name in self.kept:
            return
        self.kept.add(name)
        if name in self.enums or name.startswith(".google.protobuf"):
            return
        for field in self.messages[name].field:
            if not self._is_left_out(field) and field.type_name:
                self.keep(field.type_name)

    def _is_left_out(self, field):
        return field.options.deprecated or bool(field.type_name and LEFT_OUT.search(field.type_name))

    def has(self, field):
        if self._is_left_out(field):
            return False
        return not field.type_name or field.type_name in self.kept


class Printer:
    """Prints what the pruner kept."""

    def __init__(self, pruner):
        self.pruner = pruner

    def enum(self, enum, indent):
        lines = [f"{indent}enum {enum.name} {{"]
        if enum.options.allow_alias:
            lines.append(f"{indent}  option allow_alias = true;")
        lines += [f"{indent}  {value.name} = {value.number};" for value in enum.value]
        return lines + [f"{indent}}}"]

    def message(self, message, name, indent=""):
        inner = indent + "  "
        lines = [f"{indent}message {message.name} {{"]
        for enum in message.enum_type:
            if f"{name}.{enum.name}" in self.pruner.kept:
                lines += self.enum(enum, inner)
        for nested in message.nested_type:
            if not nested.options.map_entry and f"{name}.{nested.name}" in self.pruner.kept:
                lines += self.message(nested, f"{name}.{nested.name}", inner)
        maps = {f"{name}.{n.name}": n for n in message.nested_type if n.options.map_entry}
        printed = set()
        for field in message.field:
            if not self.pruner.has(field):
                continue
            if not field.HasField("oneof_index") or field.proto3_optional:
                lines.append(self.field(field, maps, inner))
            elif field.oneof_index not in printed:
                printed.add(field.oneof_index)
                lines.append(f"{inner}oneof {message.oneof_decl[field.oneof_index].name} {{")
                for member in message.field:
                    same = member.HasField("oneof_index") and member.oneof_index == field.oneof_index
                    if same and not member.proto3_optional and self.pruner.has(member):
                        lines.append(self.field(member, maps, inner + "  "))
                lines.append(f"{inner}}}")
        return lines + [f"{indent}}}"]

    def field(self, field, maps, indent):
        if field.type_name in maps:
            key, value = maps[field.type_name].field
            kind = f"map<{self.kind(key)}, {self.kind(value)}>"
        else:
            label = "repeated " if field.label == Field.LABEL_REPEATED else ""
            label = "optional " if field.proto3_optional else label
            kind = label + self.kind(field)
        return f"{indent}{kind} {field.name} = {field.number};"

    def kind(self, field):
        return SCALARS.get(field.type) or field.type_name.lstrip(".")


def requests(services):
    """Swift that ties the requests of the frontend that are made in a namespace to their paths and answers."""
    name = "temporal.api.workflowservice.v1.WorkflowService"
    methods = {method.name: method for method in services[name].method}
    lines = [
        "// Made by scripts/generate-temporal-api. Do not edit.",
        "public import SwiftProtobuf",
        "",
        "/// A request of WorkflowService, with the type of its answer.",
        "public protocol ServiceRequest: Message, Sendable {",
        "    associatedtype Answer: Message & Sendable",
        "    /// The HTTP/2 path of the call.",
        "    static var path: String { get }",
        "    var namespace: String { get set }",
        "}",
    ]
    for method in sorted(CALLS[name].split()):
        request, answer = (kind.split(".")[-1] for kind in (methods[method].input_type, methods[method].output_type))
        if method in WITHOUT_NAMESPACE:
            continue
        lines += [
            "",
            f"extension API{request}: ServiceRequest {{",
            f"    public typealias Answer = API{answer}",
            f'    public static var path: String {{ "/{name}/{method}" }}',
            "}",
        ]
    return "\n".join(lines) + "\n"


def main(output, swift):
    files = read_files()
    pruner = Pruner(files)
    services = {f"{file.package}.{service.name}": service for file in files for service in file.service}
    for service, names in CALLS.items():
        methods = {method.name: method for method in services[service].method}
        for name in names.split():
            pruner.keep(methods[name].input_type)
            pruner.keep(methods[name].output_type)
    for name in INSIDE_ANY:
        pruner.keep(f".{name}")

    printer = Printer(pruner)
    packages = {}
    for file in files:
        if not file.package.startswith("temporal.api"):
            continue
        body = packages.setdefault(file.package, [])
        for enum in file.enum_type:
            if f".{file.package}.{enum.name}" in pruner.kept:
                body += printer.enum(enum, "")
        for message in file.message_type:
            name = f".{file.package}.{message.name}"
            if name in pruner.kept:
                body += printer.message(message, name)

    bodies = {package: "\n".join(lines) for package, lines in packages.items() if lines}
    paths = {package: package.replace(".", "/") + ".proto" for package in bodies}
    for package, body in bodies.items():
        imports = {paths[other] for other in bodies if other != package and re.search(rf"\b{re.escape(other)}\.[A-Z]", body)}
        imports |= {f"google/protobuf/{WELL_KNOWN[kind]}.proto" for kind in re.findall(r"google\.protobuf\.(\w+)", body)}
        path = pathlib.Path(output) / paths[package]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            'syntax = "proto3";\n'
            f"package {package};\n"
            f'option swift_prefix = "{SWIFT_PREFIXES.get(package, "API")}";\n'
            + "".join(f'import "{name}";\n' for name in sorted(imports))
            + f"\n{body}\n"
        )
    (pathlib.Path(swift) / "ServiceRequests.swift").write_text(requests(services))
    kept = [name for name in pruner.kept if name in pruner.messages and name.startswith(".temporal")]
    print(f"kept {len(kept)} of {len(pruner.messages)} messages in {len(bodies)} packages")


if __name__ == "__main__":
    main(*sys.argv[1:])
