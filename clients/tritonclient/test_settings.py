"""Log and trace settings, through every client of tritonclient."""

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

import onnx_models
from doors import KINDS


@pytest.fixture(params=KINDS)
def own_door(request, start, repository, open_door):
    """A client of a server of its own, as settings are the whole server's."""
    onnx_models.put(repository, "m", onnx_models.add(1))
    return open_door(request.param, start(repository))


def plain(settings, key=None):
    """The settings as names and values, whatever the client made of them."""
    found = settings["settings"] if "settings" in settings else settings
    flat = {}
    for name, value in found.items():
        if isinstance(value, dict):
            value = value.get("value", list(value.values())[0] if value else None)
            value = value[0] if isinstance(value, list) and len(value) == 1 and name != "trace_level" else value
        flat[name] = value
    return flat if key is None else flat[key]


def status_of(caught):
    return caught.value.status()


def bad(door):
    return "400" if door.is_http else "INVALID_ARGUMENT"


def test_the_server_lists_both_extensions(door):
    assert {"logging", "trace"} <= set(door.document("get_server_metadata")["extensions"])


def test_log_settings_are_read_and_changed_one_by_one(own_door):
    door = own_door
    before = plain(door.document("get_log_settings"))
    assert before["log_info"] is True and before["log_warnings"] is True and before["log_errors"] is True
    changed = plain(door.document("update_log_settings", {"log_verbose_level": 1, "log_warning": False}))
    assert int(changed["log_verbose_level"]) == 1 and not changed["log_warnings"] and changed["log_info"]
    assert plain(door.document("get_log_settings")) == changed
    door.call("update_log_settings", {"log_format": "ISO8601", "log_info": False})
    assert plain(door.document("get_log_settings"), "log_format") == "ISO8601"


def test_the_log_level_changes_what_the_server_writes(own_door):
    door = own_door
    with pytest.raises(InferenceServerException):
        door.infer("m", {"OTHER": np.zeros(1, np.float32)})
    assert "DEBUG" not in door.server.log()
    door.call("update_log_settings", {"log_verbose_level": 1})
    with pytest.raises(InferenceServerException):
        door.infer("m", {"OTHER": np.zeros(1, np.float32)})
    door.server.wait_for_log("DEBUG")


@pytest.mark.parametrize("settings, named", [
    ({"log_all": True}, "log_all"),
    ({"log_file": "/tmp/x"}, "log_file"),
    ({"log_format": "xml"}, "xml"),
])
def test_a_log_setting_that_does_not_fit_is_refused_by_name(door, settings, named):
    with pytest.raises(InferenceServerException) as caught:
        door.call("update_log_settings", settings)
    assert bad(door) in status_of(caught) and named in caught.value.message()


def test_a_log_setting_of_another_type_is_refused_by_name(http_door):
    with pytest.raises(InferenceServerException) as caught:
        http_door.call("update_log_settings", {"log_info": "yes"})
    assert "400" in status_of(caught) and "log_info" in caught.value.message()


def test_trace_settings_are_read_and_changed_and_go_back(own_door):
    door = own_door
    before = plain(door.document("get_trace_settings"))
    assert (before["trace_level"], before["trace_rate"], before["trace_count"]) == (["OFF"], "1", "-1")
    changed = plain(door.document("update_trace_settings", settings={"trace_level": ["TIMESTAMPS"], "trace_rate": "10"}))
    assert (changed["trace_level"], changed["trace_rate"]) == (["TIMESTAMPS"], "10")
    back = plain(door.document("update_trace_settings", settings={"trace_level": None, "trace_rate": None}))
    assert back == before


def test_a_model_has_trace_settings_of_its_own(own_door):
    door = own_door
    door.call("update_trace_settings", model_name="m", settings={"trace_level": ["TIMESTAMPS"]})
    assert plain(door.document("get_trace_settings", model_name="m"), "trace_level") == ["TIMESTAMPS"]
    assert plain(door.document("get_trace_settings"), "trace_level") == ["OFF"]
    door.infer("m", {"IN": np.zeros(1, np.float32)})
    line = next(l for l in door.server.wait_for_log("inference traced").splitlines() if "inference traced" in l)
    assert "compute_us=" in line and 'model="m"' in line.replace("model=m", 'model="m"')
    with pytest.raises(InferenceServerException) as caught:
        door.call("get_trace_settings", model_name="nope")
    assert ("404" if door.is_http else "NOT_FOUND") in status_of(caught)


@pytest.mark.parametrize("settings, named", [
    ({"trace_level": ["TENSORS"]}, "TENSORS"),
    ({"trace_file": "/tmp/x"}, "trace_file"),
    ({"trace_rate": "often"}, "often"),
    ({"speed": "1"}, "speed"),
])
def test_a_trace_setting_that_does_not_fit_is_refused_by_name(door, settings, named):
    with pytest.raises(InferenceServerException) as caught:
        door.call("update_trace_settings", settings=settings)
    assert bad(door) in status_of(caught) and named in caught.value.message()
