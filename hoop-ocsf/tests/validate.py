"""Validates OCSF events, one a line of standard input, against the classes as published.

The JSON schemas are those of ocsf-json-schema, which packages what schema.ocsf.io publishes, made strict: an
attribute that the class does not have is an error. Findings are also read by py-ocsf-models. Prints one line for each
event: its class and `ok`, or what is wrong with it.
"""

import json
import sys

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

SCHEMAS = {}
VALIDATORS = {}


def strict(schema):
    """Refuses unknown attributes of the class and of its objects; `unmapped` and JSON data have any."""
    for part in [schema, *schema.get("$defs", {}).values()]:
        if part.get("title") != "Object":
            part["additionalProperties"] = False
    return schema


def validator(version, uid, profiles):
    key = (version, uid, tuple(profiles))
    if key not in VALIDATORS:
        if version not in SCHEMAS:
            SCHEMAS[version] = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))
        schemas = SCHEMAS[version]
        name = schemas.lookup_class_name_from_uid(uid)
        VALIDATORS[key] = Draft202012Validator(strict(schemas.get_class_schema(name, profiles)))
    return VALIDATORS[key]


def wrong(event):
    metadata = event["metadata"]
    check = validator(metadata["version"], event["class_uid"], metadata["profiles"])
    for error in check.iter_errors(event):
        yield f"{error.json_path}: {error.message[:300]}"
    if event["class_uid"] == 2004:
        try:
            DetectionFinding.model_validate(event)
        except ValueError as error:
            yield str(error).replace("\n", " ")


for line in sys.stdin:
    event = json.loads(line)
    print(event["class_uid"], "; ".join(wrong(event)) or "ok", flush=True)
