"""``croissant.json``: the build as Croissant 1.1, https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.

JSON-LD with each shard's size and digest, a record set per configuration, and the fields of the responsible-AI
vocabulary (RAI 1.0). Paths are relative to the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from instruct.build.image_table import image_features
from instruct.build.output import IMAGES, SPLIT_NAMES
from instruct.build.schema import features
from instruct.reports.markdown import visible
from instruct.sources import get_source
from instruct.specs.published import agreement_of, citations, published_datasets
from instruct.specs.terms import sources_of

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_VERSIONS = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
_FORMAT = "application/vnd.apache.arrow.stream"
_TYPES = {
    "string": "sc:Text",
    "int32": "sc:Integer",
    "int64": "sc:Integer",
    "uint64": "sc:Integer",
    "float64": "sc:Float",
    "bool": "sc:Boolean",
    "binary": "sc:Text",
}


def croissant(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-LD document of a build, from its manifest."""
    sources = sources_of(manifest)
    known = {name: published_datasets()[name] for name in sources if name in published_datasets()}
    links = sorted({terms.link for name in sources if (terms := agreement_of(name)) is not None})
    cited = dict.fromkeys(key for facts in known.values() for key in facts.citations)
    held = [task for task in manifest["tasks"] if task["splits"]]

    def told(attribute: str) -> list[str]:
        return [f"{name}: {getattr(facts, attribute)}" for name, facts in known.items()]

    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _VERSIONS,
        "name": visible(manifest["name"]),
        "description": (
            f"Instruction data for chest X-rays, built by cxr-instruct {manifest['version']} from "
            f"{', '.join(sources)}. Not for clinical use."
        ),
        "version": manifest["version"],
        "license": links or ["unknown"],
        "url": "README.md",
        "citeAs": "\n\n".join(citations()[key] for key in cited),
        "isLiveDataset": False,
        "distribution": [],
        "recordSet": [],
        "rai:dataCollection": "Published chest X-ray datasets, read as their owners ship them; see the card for each.",
        "rai:dataAnnotationProtocol": told("labels"),
        "rai:dataBiases": told("people"),
        "rai:personalSensitiveInformation": told("deidentification"),
        "rai:dataLimitations": "Not for clinical use. Labels drawn from reports by programs are noisy; see the card.",
        "rai:dataUseCases": "Training and evaluation of vision-language models for research.",
        "prov:wasDerivedFrom": [{"@id": get_source(name).homepage} for name in known],
    }
    for task in held:
        for split, label in SPLIT_NAMES.items():
            shards = task["splits"].get(split, {}).get("shards", ())
            document["distribution"] += [_file(shard) for shard in shards]
            if shards:
                document["distribution"].append(_files(task["config"], label))
        document["recordSet"].append(_records(task))
    for source, stored in manifest.get("images", {"sources": {}})["sources"].items():
        if stored["shards"]:
            document["distribution"] += [_file(shard) for shard in stored["shards"]]
            document["distribution"].append(_files(IMAGES, source))
            document["recordSet"].append(_images(source, stored["images"]))
    return document


def _file(shard: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": shard["file"],
        "name": shard["file"],
        "contentUrl": shard["file"],
        "contentSize": f"{shard['bytes']} B",
        "encodingFormat": _FORMAT,
        "sha256": shard["sha256"],
    }


def _files(config: str, label: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{config}/{label}",
        "name": f"{config}/{label}",
        "description": f"Shards of {config}, {label}.",
        "encodingFormat": _FORMAT,
        "includes": f"{config}/{label}/arrow/data-*.arrow",
    }


def _records(task: Mapping[str, Any]) -> dict[str, Any]:
    config = task["config"]
    first = next(label for split, label in SPLIT_NAMES.items() if split in task["splits"])
    records = ", ".join(f"{split} {held['records']:,}" for split, held in task["splits"].items())
    return {
        "@type": "cr:RecordSet",
        "@id": config,
        "name": config,
        "description": f"{visible(task['name'])}: {records} records.",
        "field": [
            _field(f"{config}/{name}", name, feature, {"fileSet": {"@id": f"{config}/{first}"}, "column": name})
            for name, feature in features().items()
        ],
    }


def _images(source: str, number: int) -> dict[str, Any]:
    name = f"{IMAGES}/{source}"
    return {
        "@type": "cr:RecordSet",
        "@id": f"{name}/table",
        "name": f"{name}/table",
        "description": f"{number:,} images of {source}.",
        "field": [
            _field(f"{name}/table/{column}", column, feature, {"fileSet": {"@id": name}, "column": column})
            for column, feature in image_features().items()
        ],
    }


def _field(identifier: str, name: str, feature: Any, source: Mapping[str, Any] | None) -> dict[str, Any]:
    field: dict[str, Any] = {"@type": "cr:Field", "@id": identifier, "name": identifier}
    if source is not None:
        field["source"] = {"fileSet": source["fileSet"], "extract": {"column": source["column"]}}
    if isinstance(feature, list):
        field |= {"isArray": True, "arrayShape": "-1"}
        feature = feature[0]
    if "_type" not in feature:
        field["subField"] = [_field(f"{identifier}/{key}", key, inner, source) for key, inner in feature.items()]
    else:
        field["dataType"] = "sc:ImageObject" if feature["_type"] == "Image" else _TYPES[feature["dtype"]]
    return field
