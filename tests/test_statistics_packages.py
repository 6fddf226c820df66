"""SPSS, Stata and SAS: what their labels, missing values, dates and encodings become."""

import base64
import json
import re
import struct
import warnings
import zlib
from datetime import date, datetime, time

import numpy as np
import pytest

import layerwise
from layerwise.data import scan_table
from layerwise.data.tables import TableFile
from layerwise.section import Section

pl = pytest.importorskip("polars")
pyreadstat = pytest.importorskip("pyreadstat")

SEX = {1.0: "male", 2.0: "female", 9.0: "no answer"}
AGREE = {1.0: "not at all", 2.0: "little", 3.0: "some", 4.0: "much", 5.0: "fully"}

# A file of SAS that ReadStat's own writer has made, which pyreadstat does not offer: 3 rows, compressed.
SAS = (
    b"c-rlm&ui0Q7{{OVceQE@IrJbbY&-NYLqccmK(yH!wXC&51FolShi)y53LDA<!HL%$WbWYp4sU`|1o0#yOz=?ftS3+YTDO?Id6PDe"
    b"3$2ub;`@Q}<oV`#p7(9?Hhtf`09{^wez5eEPrQA;6M^V!c{@24Po&2oo#uQpXNB+pe$J(*xrsFJJP3Zyu2WGe!j(c%%`2KxQ8mE}"
    b"=!2PW$K84pTG_kvQL*iB!Ex)uA$dlWrX{&_zSwBq-t5uSqAZEhIa$s~qAZItF1MM@EM}&=zS-`?!-n7f;P@xc+DE<p1O|h_U@#aA"
    b"27|$1F#aO;=(-g%AEXDq1e`X^hnVH2(8{+(^(4x#pRnwL&#kwkmff}mx?q1q^&--Fs^3HUe#Ejlr0-&#qIu}NhrS;^Uf=c5wLUuP"
    b"Cgl<dZ>_vHZ0-|WXp{E_TRX3uGPAYyrt_}k#rONfzBBEX6AzE=_%D~;?^bd|&#jvETiyCjJmhAVH)?AGyo+Hl7z{>#jt+Ffpz&)E"
    b"9V&kbLPO;j;p9;Hxgpyh_WD^&LCns#()B6oPf{C#u<`%f?W+$C^^OsDpu79uq4{;x0+}iVI7qpCA4JgkIP#Oo7m(izZCcMdN(!tg"
    b"R~7=qUZnmtu%=cEU`^HPfHx%$X|0}p4<7HqkUbhry<x^ES5;6}YeJ(b+^sFIZ)oM4*Yir%+=o$TMB}_h_GDD8P*P<>m@Ag&=FK^d"
    b";b)EWg-RK!)lw;+mn9M3o{qaO0cyh|`VGdy?t95OW57KR3!!Vpq5ffCM{z+E7er%_L*Enobg1_o>pusK`=Jl_+xyq}YS4QhZN3?h"
    b"88P+a=zKyNCsv}q-=jXRYd=ePIKJ>08YlXHc0We79{p1|=Na$zPa*#d@)O99jO?36$TMY<w8Zzc6C=lG2W&ZD<a5STC+1#tI!Au*"
    b"OGEetE#NO6"
)


@pytest.fixture
def survey(tmp_path):
    """Return a file of SPSS with labels of every kind."""
    frame = pl.DataFrame(
        {
            "age": [31.0, -9.0, 45.0, None, 62.0, 18.0],
            "visits": [0.0, 3.0, 98.0, 5.0, 99.0, 1.0],
            "sex": [1.0, 2.0, 1.0, 9.0, 2.0, 2.0],
            "trust": [1.0, 5.0, 5.0, 1.0, 3.0, 2.0],
            "ends": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0],
            "party": ["a", "b", "", "a", "b", "c"],
        }
    )
    path = tmp_path / "survey.sav"
    pyreadstat.write_sav(
        frame,
        path,
        column_labels={"age": "Age in\nyears", "sex": "sex", "trust": "Trust in <courts>"},
        variable_value_labels={
            "age": {-9.0: "refused"},
            "sex": SEX,
            "trust": AGREE,
            "ends": {1.0: "low", 3.0: "high"},
            "visits": {98.0: "many", 99.0: "unknown"},
            "party": {"a": "Left", "b": "Right", "c": "Centre"},
        },
        missing_ranges={"age": [-9.0], "sex": [{"lo": 8.0, "hi": 9.0}], "visits": [99.0]},
    )
    return path


def read_quietly(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return layerwise.read(path, **options)


def test_labels_of_all_values_are_categories_and_those_of_some_are_not(survey):
    with pytest.warns(UserWarning, match="label") as told:
        frame = scan_table(survey).collect()
    assert frame["sex"].to_list() == ["male", "female", "male", None, "female", "female"]  # 9 is declared missing
    assert frame["trust"].to_list() == ["not at all", "fully", "fully", "not at all", "some", "little"]
    assert frame["party"].to_list() == ["Left", "Right", None, "Left", "Right", "Centre"]
    assert frame["age"].to_list() == [31.0, None, 45.0, None, 62.0, 18.0]
    assert frame["ends"].to_list() == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    assert frame["visits"].to_list() == [0.0, 3.0, 98.0, 5.0, None, 1.0]
    said = " | ".join(str(warning.message) for warning in told)
    assert "column 'trust' has a label for each value (trust: not at all ... fully)" in said
    assert "column 'visits' stays numbers" in said
    assert "98 is 'many'; if that stands for nothing, declare it missing: --missing=98" in said
    assert "1 is 'low', 3 is 'high'" in said
    assert "'age'" not in said  # all that has a label there is missing
    assert "'sex'" not in said


def test_missing_codes_that_the_file_does_not_declare_can_be_named(survey):
    found = read_quietly(survey, missing=["98", "Centre"])
    assert np.isnan(found.X[:, found.feature_names.index("visits")]).tolist() == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    assert found.encoder.categories_["party"] == ["Left", "Right", "missing"]


def test_numbers_stay_numbers_without_value_labels(survey):
    found = layerwise.read(survey, value_labels=False)  # says nothing
    assert found.X[:, found.feature_names.index("trust")].tolist() == [1, 5, 5, 1, 3, 2]
    assert np.isnan(found.X[:, found.feature_names.index("sex")]).tolist() == [False, False, False, True, False, False]
    (survey.parent / "plain.csv").write_text("a\n1\n2\n")
    with pytest.raises(ValueError, match=r"value_labels=True cannot be used: .*is a table"):
        layerwise.read(survey.parent / "plain.csv", value_labels=True)


def test_target_with_labels_is_classes(survey):
    assert read_quietly(survey, labels="sex").y.tolist() == ["male", "female", "male", None, "female", "female"]
    assert read_quietly(survey, labels="sex", value_labels=False).y[:2].tolist() == [1.0, 2.0]


def test_rows_of_a_trained_model_are_read_as_those_of_its_training(survey, tmp_path):
    encoder = read_quietly(survey).encoder
    columns = pl.DataFrame(
        {"age": [20.0], "visits": [98.0], "sex": [1.0], "trust": [6.0], "ends": [1.0], "party": ["z"]}
    )
    other = tmp_path / "other.sav"  # where all values have labels that did not, and the other way round
    labels = {"visits": {98.0: "many"}, "ends": {1.0: "low"}, "sex": SEX, "trust": AGREE, "party": {"a": "Left"}}
    pyreadstat.write_sav(columns, other, variable_value_labels=labels)
    with pytest.warns(UserWarning, match="values that training did not have.*trust: '6'.*party: 'z'|party.*trust"):
        found = layerwise.read(other, encoder=encoder)
    row = dict(zip(found.feature_names, found.X[0].tolist(), strict=True))
    assert (row["age"], row["visits"], row["ends"]) == (20, 98, 1)
    assert sum(value for name, value in row.items() if name.startswith("trust=")) == 0


def test_parts_have_labels_together(tmp_path):
    for name, value in (("a", 1.0), ("b", 2.0), ("c", 7.0)):
        labels = {"k": {1.0: "one", 2.0: "two"}}
        pyreadstat.write_sav(
            pl.DataFrame({"k": [value], "x": [0.5]}), tmp_path / f"{name}.sav", variable_value_labels=labels
        )
    assert scan_table([tmp_path / "a.sav", tmp_path / "b.sav"]).collect()["k"].to_list() == ["one", "two"]
    with pytest.warns(UserWarning, match="column 'k' stays numbers"):
        assert scan_table(str(tmp_path / "*.sav")).collect()["k"].to_list() == [1, 2, 7]


def test_missing_values_of_stata_and_sas_are_missing(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"k": pd.Series([1, "a", 2, "z"], dtype=object), "x": [1.5, 2.5, None, 4.5]})
    path = tmp_path / "codes.dta"
    pyreadstat.write_dta(
        frame,
        path,
        missing_user_values={"k": ["a", "z"]},
        variable_value_labels={"k": {1: "yes", 2: "no", "a": "refused"}},
    )
    assert scan_table(path).collect()["k"].to_list() == ["yes", None, "no", None]
    path = tmp_path / "codes.xpt"
    pyreadstat.write_xport(pl.DataFrame({"X": [1.0, None, 3.0]}), path)
    content = path.read_bytes()
    gap = b"\x2e" + bytes(7)  # . of SAS; .A and ._ are written with their letter
    assert content.count(gap) == 1
    for letter in b"AZ_":
        path.write_bytes(content.replace(gap, bytes([letter]) + bytes(7)))
        assert scan_table(path).collect()["X"].to_list() == [1.0, None, 3.0]


def test_dates_of_each_package(tmp_path):
    frame = pl.DataFrame(
        {
            "DAY": [date(1850, 5, 6), None, date(2024, 2, 29)],
            "AT": [datetime(1950, 5, 6), None, datetime(2024, 2, 29, 23, 59, 59)],
            "CLOCK": [time(3, 4, 5), None, time(23, 59, 59)],
        }
    )
    pyreadstat.write_sav(frame, tmp_path / "x.sav")
    pyreadstat.write_xport(frame, tmp_path / "x.xpt")
    for ending in ("sav", "xpt"):
        assert scan_table(tmp_path / f"x.{ending}").collect().equals(frame), ending


def test_file_of_sas(tmp_path):
    path = tmp_path / "x.sas7bdat"
    path.write_bytes(zlib.decompress(base64.b85decode(SAS)))
    found = scan_table(path).collect().to_dict(as_series=False)
    assert found == {
        "AGE": [30.0, None, 32.0],  # .A
        "TOWN": ["Bern", None, "Basel"],
        "DAY": [date(2020, 1, 1), None, date(2020, 1, 3)],
        "AT": [datetime(2020, 1, 1, 3, 4, second) for second in (5, 6, 7)],
        "CLOCK": [time(3, 4, second) for second in (5, 6, 7)],
        "ISO": [date(1960, 1, 1), date(1960, 1, 2), date(1960, 1, 3)],
    }
    assert TableFile(path, Section()).descriptions == {"AGE": "Age in years"}


def test_durations_of_more_than_a_day_stay_seconds(tmp_path):
    frame = pl.DataFrame({"took": [3600.0, 100_000.0, None], "when": [3600.0, 0.0, None]})
    pyreadstat.write_sav(frame, tmp_path / "x.sav", variable_format={"took": "TIME8", "when": "TIME8"})
    found = scan_table(tmp_path / "x.sav").collect()
    assert found["took"].to_list() == [3600.0, 100_000.0, None]
    assert found["when"].to_list() == [time(1), time(0), None]


def test_periods_of_stata_are_their_first_day(tmp_path):
    frame = pl.DataFrame({"month": [0.0, 770.0], "quarter": [-1.0, 256.0], "day": [0.0, 1.0], "at": [0.0, 1000.0]})
    formats = {"month": "%tm", "quarter": "%tq", "day": "%tdDD_Mon_CCYY", "at": "%tcHH:MM"}
    pyreadstat.write_dta(frame, tmp_path / "x.dta", variable_format=formats)
    found = scan_table(tmp_path / "x.dta").collect()
    assert found["month"].to_list() == [date(1960, 1, 1), date(2024, 3, 1)]
    assert found["quarter"].to_list() == [date(1959, 10, 1), date(2024, 1, 1)]
    assert found["day"].to_list() == [date(1960, 1, 1), date(1960, 1, 2)]
    assert found["at"].to_list() == [datetime(1960, 1, 1), datetime(1960, 1, 1, 0, 0, 1)]


def test_encoding_that_the_file_does_not_say(tmp_path):
    path = tmp_path / "old.sav"
    pyreadstat.write_sav(pl.DataFrame({"town": ["Zxrich", "Bern"], "x": [1.0, 2.0]}), path)
    path.write_bytes(path.read_bytes().replace(b"Zxrich", b"Z\xfcrich"))
    with pytest.raises(layerwise.FileError, match=r"not in the encoding that it names; say which .*--encoding latin1"):
        layerwise.read(path)
    assert layerwise.read(path, encoding="latin1").encoder.readings_["town"]["high"] == "Zürich"
    with pytest.raises(layerwise.FileError, match=r"encoding=klingon is not its; say which"):
        layerwise.read(path, encoding="klingon")


def test_labels_of_variables_stand_in_report_and_card(survey, tmp_path, run):
    frame = pl.concat([pl.read_ipc(_as_ipc(survey, tmp_path))] * 10)
    path = tmp_path / "people.sav"
    pyreadstat.write_sav(frame, path, column_labels={"age": "Age in\nyears", "visits": "Visits of <b>courts</b>"})
    assert TableFile(path, Section()).descriptions == {"age": "Age in years", "visits": "Visits of <b>courts</b>"}
    out = tmp_path / "run"
    run("fit", path, "--ignore", "party", "--impute", "--max-iter", 2, "--layers", 2, "--out", out)
    assert json.loads((out / "run.json").read_text())["descriptions"]["age"] == "Age in years"
    assert "Visits of &lt;b&gt;courts" in (out / "report.html").read_text()
    assert re.search(r"- age: Age in years", (out / "MODEL_CARD.md").read_text())


def _as_ipc(path, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scan_table(path).select("age", "visits", "ends", "party").sink_ipc(folder / "rows.arrow")
    return folder / "rows.arrow"


def test_files_in_blocks_are_whole(tmp_path):
    n_rows = 2**19 + 3  # of four columns: more than a block
    frame = pl.DataFrame({f"x{k}": np.arange(n_rows) % (k + 7) * 1.0 for k in range(4)})
    pyreadstat.write_dta(frame, tmp_path / "long.dta")
    assert scan_table(tmp_path / "long.dta").collect().equals(frame)
    assert scan_table(tmp_path / "long.dta").select("x3").tail(2).collect().equals(frame.select("x3").tail(2))


@pytest.mark.parametrize("ending", [".sav", ".zsav", ".por", ".dta", ".sas7bdat", ".xpt"])
def test_file_of_another_kind(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    path.write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(layerwise.FileError, match=r"cannot be read as (SPSS|Stata|SAS), or is damaged \(") as error:
        layerwise.read(path)
    assert "\n" not in str(error.value)


def test_file_that_is_cut_or_lies(survey):
    content = survey.read_bytes()
    for length in (10, len(content) // 2, len(content) - 20):
        survey.write_bytes(content[:length])
        with pytest.raises(layerwise.FileError, match="is damaged"):
            read_quietly(survey)
    for n_rows, message in ((100_000_000, "says that it holds 100000000 rows"), (0, "without rows"), (7, "is damaged")):
        survey.write_bytes(content[:80] + struct.pack("<i", n_rows) + content[84:])
        with pytest.raises(layerwise.FileError, match=message):
            read_quietly(survey)


def test_process_that_reads_may_break_down(survey, tmp_path, monkeypatch):
    (tmp_path / "pyreadstat.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(layerwise.FileError, match="the process that read it broke down, exit status -11"):
        layerwise.read(survey)


def test_without_pyreadstat(survey, tmp_path, monkeypatch):
    (tmp_path / "pyreadstat.py").write_text("raise ModuleNotFoundError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ImportError, match=r"\.sav files need pyreadstat.*pip install 'layerwise\[statistics\]'"):
        layerwise.read(survey)
