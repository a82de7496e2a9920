"""Keys of the Node CLI's configuration: renamed where there is an equal here, else ignored.

An ignored key leads to a notice
(docs/reference/configuration.md, "Keys of the Node CLI").
"""

from __future__ import annotations

from typing import Any

_DOCUMENT: dict[str, str | None] = {"runtimeMode": None}
_PIPELINE: dict[str, str | None] = {"metadata": None, "runtimeMode": None}
_STAGE: dict[str, str | None] = {
    "execution_mode": "executionMode",
    "mode": "executionMode",
    "requires_cloud": "requiresCloud",
    "metadata": None,
    "runtimeMode": None,
    "cloudEnvId": None,
    "cloud_env_id": None,
}
_PLAN: dict[str, str | None] = {
    "default": "defaultTarget",
    "primary": "defaultTarget",
    "execution_mode": "executionMode",
    "requires_cloud": "requiresCloud",
    "cloudEnvId": None,
    "cloud_env_id": None,
}


def translate_node_keys(data: Any) -> tuple[Any, list[str]]:
    """The document with such keys renamed or removed, and a notice for each removed one.

    Anything of an unexpected type is left as it is, for validation to name.
    """
    notices: dict[str, None] = {}
    if not isinstance(data, dict):
        return data, []
    document = _renamed(data, _DOCUMENT, notices)
    if isinstance(document.get("pipelines"), list):
        document["pipelines"] = [_pipeline(item, notices) for item in document["pipelines"]]
    if isinstance(document.get("stageSets"), dict):
        document["stageSets"] = {
            name: _stages(stages, notices) for name, stages in document["stageSets"].items()
        }
    return document, list(notices)


def _pipeline(data: Any, notices: dict[str, None]) -> Any:
    if not isinstance(data, dict):
        return data
    pipeline = _renamed(data, _PIPELINE, notices)
    if "stages" in pipeline:
        pipeline["stages"] = _stages(pipeline["stages"], notices)
    return pipeline


def _stages(data: Any, notices: dict[str, None]) -> Any:
    return [_stage(item, notices) for item in data] if isinstance(data, list) else data


def _stage(data: Any, notices: dict[str, None]) -> Any:
    if not isinstance(data, dict):
        return data
    stage = _renamed(data, _STAGE, notices)
    if isinstance(stage.get("plan"), dict):
        stage["plan"] = _renamed(stage["plan"], _PLAN, notices)
    return stage


def _renamed(
    data: dict[str, Any], new_names: dict[str, str | None], notices: dict[str, None]
) -> dict[str, Any]:
    result = {key: value for key, value in data.items() if key not in new_names}
    for key, new_name in new_names.items():
        if key not in data:
            continue
        if new_name is None:
            notices[f'The key "{key}" of the Node CLI has no meaning here and is ignored.'] = None
        else:
            result.setdefault(new_name, data[key])
    return result
