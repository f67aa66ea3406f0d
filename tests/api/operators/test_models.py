"""What a REST resource says of its columns."""

from __future__ import annotations

import pytest

from app.api.operators.models import ApiInterface, ReadApi
from app.errors import DeclarationError
from app.models import Version

pytestmark = pytest.mark.any_database("asks no database")


@pytest.mark.parametrize("attribute", ["list_columns", "show_columns", "search_columns", "order_columns"])
@pytest.mark.parametrize("name", ["nummer", "mini_program.apid", "mini_programm.name", "mini_program.nothing.name"])
def test_a_misspelt_column_stops_the_start_with_a_sentence(attribute: str, name: str) -> None:
    with pytest.raises(DeclarationError, match=f"Misspelt.{attribute}: there is no '{name}'"):
        type("Misspelt", (ReadApi,), {"datamodel": ApiInterface(Version), attribute: ["number", name]})


def test_a_row_that_is_named_reads_as_its_relation() -> None:
    columns = ["id", "number", "mini_program.name", "mini_program.merchant.name"]
    made = type("Spelt", (ReadApi,), {"datamodel": ApiInterface(Version), "list_columns": columns})
    assert list(made.label_columns.values()) == ["编号", "版本号", "小程序", "商户"]


@pytest.mark.parametrize("attribute", ["search_columns", "order_columns"])
def test_what_is_asked_is_of_the_rows_own_table(attribute: str) -> None:
    with pytest.raises(DeclarationError, match="'mini_program.appid' is another table's"):
        type("Joined", (ReadApi,), {"datamodel": ApiInterface(Version), attribute: ["number", "mini_program.appid"]})
