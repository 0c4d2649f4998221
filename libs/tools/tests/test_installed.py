from importlib.metadata import EntryPoint

from kasal_tools.installed import GROUP, installed_tools, load


def test_the_built_in_tools_are_installed() -> None:
    assert {"calculator", "http_request"} <= installed_tools().keys()


def test_a_broken_plugin_is_reported_by_name_and_the_others_work() -> None:
    found = load(
        [
            EntryPoint("calculator", "kasal_tools.calculator:Calculator", GROUP),
            EntryPoint("gone", "kasal_tools.no_such_module:Tool", GROUP),
            EntryPoint("not_a_tool", "kasal_tools.calculator:calculate", GROUP),
            EntryPoint("misnamed", "kasal_tools.calculator:Calculator", GROUP),
        ]
    )
    assert list(found.tools) == ["calculator"]
    assert list(found.broken) == ["gone", "misnamed", "not_a_tool"]
