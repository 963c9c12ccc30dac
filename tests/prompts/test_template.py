from __future__ import annotations

import pytest
from jinja2 import meta

from instruct.errors import SpecError
from instruct.prompts.dialect import DIALECTS
from instruct.prompts.environment import TemplateEnvironment
from instruct.prompts.source import find_template
from instruct.prompts.template import CompiledTemplate, compile_template
from instruct.resources import shipped

from .toolbox import answers, compiled, faults, one_variant, prompts, render, write

NAMES = sorted(path.stem for path in shipped("templates").glob("[!_]*.jinja"))


@pytest.fixture
def wrong(tmp_path):
    """What is told of a template that is refused, without the folder."""

    def wrong(text: str, **others: str) -> str:
        with pytest.raises(SpecError) as caught:
            template = compiled(tmp_path, text, **others)
            render(template, {"answer": ["a"], **{name: ["x"] for name in template.columns}})
        (problem,) = caught.value.problems
        return problem.replace(f"{tmp_path}/", "")

    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_template_is_in_order(name):
    template = compile_template(find_template(name))
    assert len(template.variants) >= 7
    declared = {*template.declarations.inputs, *template.declarations.target}
    assert declared <= set(template.columns), "declared, and read by no variant"
    assert "image" not in template.columns
    assert compile_template(find_template(name)) is template


def test_a_template_says_what_it_reads(tmp_path):
    text = """
{% images any %}
{% inputs indication, age %}
{% target findings %}
{% from "words.jinja" import named %}
{% set title = "Chest X-ray" %}
{% variant 3 %}
{% set shown = indication | upper %}
{% system %}{{ title }}{% endsystem %}
{% user %}{{ images }} {{ shown }} {{ named(age) }} {{ image_count }}
{% for i in range(2) %}{{ loop.index }}{% endfor %}{% enduser %}
{% assistant %}{{ findings }}{% endassistant %}
{% endvariant %}
{% variant %}
{% user %}{{ images }} {{ indication }} {{ prior.study }} {{ age }}{% enduser %}
{% assistant %}{{ findings }}{% endassistant %}
{% endvariant %}
"""
    template = compiled(tmp_path, text, words="{% macro named(value) %}{{ value }} years{% endmacro %}")
    assert template.columns == ["age", "findings", "indication", "prior"]
    assert template.weights == [3, 1]
    assert template.declarations.images == "any"
    assert template.declarations.inputs == ["indication", "age"]
    assert template.declarations.target == ["findings"]
    assert [[turn.role for turn in variant.turns] for variant in template.variants] == [
        ["system", "user", "assistant"],
        ["user", "assistant"],
    ]
    assert [variant.line for variant in template.variants] == [7, 14]


@pytest.mark.parametrize(
    ("prompt", "printed"),
    [
        ("{{ q }}", ["answer", "q"]),
        ("{{ q }} {{ q }} and {{ r }}", ["answer", "q", "r"]),
        ("{% if image_count %}{{ q }}{% elif r %}{{ s }}{% else %}{{ t }}{% endif %}", ["answer", "q", "s", "t"]),
        ("{% for tag in tags %}{{ q }}{{ tag }}{% else %}{{ r }}{% endfor %}", ["answer", "q", "r"]),
        ("{% if q %}{{ q }}{% endif %}", ["answer"]),
        ("{{ q | upper }} {{ r.name }} {{ s ~ '!' }} {{ t[0] }}", ["answer"]),
        ("{{ q if image_count else r }}", ["answer"]),
        ("{% filter upper %}{{ q }}{% endfilter %}", ["answer"]),
        ("{% set shown %}{{ q }}{% endset %}{{ shown | upper }}", ["answer"]),
        ("{% macro m() %}{{ q }}{% endmacro %}{{ m() | upper }}", ["answer"]),
        ("{% macro m(q) %}{{ q }}{% endmacro %}{{ m('a') }}{{ q }}", ["answer"]),
        ("{% for q in tags %}{{ q }}{% endfor %}{{ q }}", ["answer"]),
        ("{% for x in tags recursive %}{{ q }}{% endfor %}", ["answer"]),
        ("{{ answer }}{% set x = answer %}", []),
    ],
)  # fmt: skip
def test_a_template_says_what_it_only_prints(tmp_path, prompt, printed):
    assert compiled(tmp_path, one_variant(prompt)).printed == printed


@pytest.mark.parametrize(
    ("top", "prompt"),
    [
        (
            "",
            "{{ q }}{% if a and not b %}{{ c | join(d) }}{% elif e.f %}{{ g[h] }}{% endif %}{{ i if j else k }}",
        ),
        ("", "{{ q }}{% for x in tags %}{{ x }}{{ loop.index }}{% endfor %}"),
        ("", "{{ q }}{% for q in tags %}{{ q }}{% endfor %}"),
        ("", "{% if a %}{% set q = a %}{% endif %}{{ q }}"),
        ("", "{% set x = 1 %}{{ x }}{{ q }}"),
        ("", "{{ range(n) | list }}{{ q }}"),
        ('{% from "w.jinja" import hi, hi as ho %}', "{{ ho(q) }}{{ hi }}"),
        ('{% from "w.jinja" import hi as ho %}', "{{ ho(q) }}{{ hi }}"),
        ('{% import "w.jinja" as w %}', "{{ w.hi(q) }}"),
        ("{% macro m(q) %}{{ q }}{{ r }}{% endmacro %}", "{{ m(a) }}"),
        ("{% set q = a %}", "{{ q }}"),
    ],
)
def test_the_columns_are_the_names_that_jinja_looks_up(tmp_path, top, prompt):
    template = compiled(tmp_path, one_variant(prompt, top=top), w="{% macro hi(x) %}hi {{ x }}{% endmacro %}")
    assert template.columns == looked_up(template)


@pytest.mark.parametrize("name", NAMES)
def test_the_columns_of_a_shipped_template_are_those_that_jinja_looks_up(name):
    template = CompiledTemplate(find_template(name))
    assert template.columns == looked_up(template)


def looked_up(template: CompiledTemplate) -> list[str]:
    """The record columns among the names that Jinja finds no meaning for, sorted."""
    tree = TemplateEnvironment({}).parse(template.source.texts[0][1])
    return sorted(meta.find_undeclared_variables(tree) - {"images", "image_count", "image"})


def test_the_digest_is_of_the_text_and_of_all_it_imports(tmp_path):
    text = one_variant("{{ a.hi() }}", top='{% import "a.jinja" as a %}')
    others = {"a": '{% from "b.jinja" import hi %}', "b": "{% macro hi() %}hi{% endmacro %}", "c": "unused"}
    source = compiled(tmp_path, text, **others).source
    assert [name for name, _ in source.texts] == ["t.jinja", "a.jinja", "b.jinja"]
    same = find_template("t", [write(tmp_path, c="changed")])
    assert same.digest == source.digest
    for name in ("t", "a", "b"):
        before = (tmp_path / f"{name}.jinja").read_text()
        assert find_template("t", [write(tmp_path, **{name: before + "\n{# more #}\n"})]).digest != source.digest
        write(tmp_path, **{name: before})


def test_imports_of_one_name_and_another_text_stay_apart(tmp_path):
    text = one_variant("{{ hi() }}", top='{% from "w.jinja" import hi %}')
    for said in ("one", "two", "one"):
        template = compiled(tmp_path, text, w=f"{{% macro hi() %}}{said}{{% endmacro %}}")
        assert prompts(render(template, {"answer": ["a"]})) == [said]


def test_what_an_import_prints_follows_the_dialect(tmp_path):
    place = "[{'image': 0, 'label': 'nodule', 'box': [0.1, 0.2, 0.5, 0.75], 'mask': none, 'size': [4, 4]}]"
    text = one_variant("{{ where() }}", top='{% from "w.jinja" import where %}')
    compiled(tmp_path, text, w=f"{{% macro where() %}}{{{{ {place} | boxes }}}}{{% endmacro %}}")
    said = {
        dialect: prompts(render(CompiledTemplate(find_template("t", [tmp_path]), dialect), {"answer": ["a"]}))[0]
        for dialect in DIALECTS
    }
    assert len(set(said.values())) == len(DIALECTS)


def test_a_users_template_comes_before_the_shipped_one(tmp_path):
    write(tmp_path, findings_generation=one_variant("Mine."))
    assert find_template("findings_generation", [tmp_path]).path == str(tmp_path / "findings_generation.jinja")
    assert find_template("impression_generation", [tmp_path]).path.startswith(str(shipped("templates")))


def test_layout_of_the_file_is_no_text(tmp_path):
    text = """{% images none %}
{% target answer %}
{# A note. #}

{% variant %}

  {% user %}

    Two
    lines.   {# and a note #}

  {% enduser %}
  {% assistant %}
  {{ answer }}
  {% endassistant %}

{% endvariant %}
"""
    rendered = render(compiled(tmp_path, text), {"answer": [" as it is \n"]})
    assert prompts(rendered) == ["Two\n    lines."]
    assert answers(rendered) == [" as it is \n"]


TURNS = "{% user %}q{% enduser %}{% assistant %}{{ answer }}{% endassistant %}"
HEAD = "{% images none %}{% target answer %}\n"
VARIANT = "{% variant %}" + TURNS + "{% endvariant %}"


def with_turns(turns: str) -> str:
    """A template whose only variant, on line 2, has these turns, from line 3."""
    return f"{HEAD}{{% variant %}}\n{turns}{{% endvariant %}}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD, "t.jinja:1:1: the template has no {% variant %}"),
        ("{% target answer %}" + VARIANT, "t.jinja:1:1: say how many images an example has"),
        ("{% images none %}" + VARIANT, "t.jinja:1:1: say which columns make the answer"),
        (HEAD + "{% target b %}", "t.jinja:2:1: {% target %} stands twice"),
        ("{% images some %}", "t.jinja:1:1: write {% images any %}, {% images none %} or a number of images"),
        ("{% images 0 %}", "t.jinja:1:1: images must be any, none or 1 to 324"),
        ("{% images 325 %}", "t.jinja:1:1: images must be any, none or 1 to 324"),
        ("\n{% target %}", "t.jinja:2:1: {% target %} names no column"),
        ("{% target 'a' %}", "t.jinja:1:1: unexpected 'a' in {% target %}"),
        (HEAD + "Hello\n" + VARIANT, "t.jinja:2:1: text outside of {% variant %} would be lost"),
        (HEAD + "{% user %}x{% enduser %}", "t.jinja:2:1: a turn must stand in a {% variant %}"),
        (HEAD + "{% variant 0 %}" + TURNS + "{% endvariant %}", "t.jinja:2:1: a variant's weight is 1 or more"),
        (
            HEAD + "{% variant %}\nHello{% endvariant %}",
            "t.jinja:3:1: only turns and {% set %} may stand directly in a variant",
        ),
        (HEAD + "{% variant %}" + TURNS, "t.jinja:2:1: Unexpected end of template"),
        (HEAD + "{% variant %}\n{% user %}\n{{ answer }\n", "t.jinja:4:1: unexpected '}'"),
        (with_turns("{% user %}{{ 3 | hex }}{% enduser %}"), "t.jinja:3:1: there is no filter 'hex'; there are: "),
        (
            with_turns("{% user %}{{ 3 | sentense }}{% enduser %}"),
            "t.jinja:3:1: there is no filter 'sentense'; did you mean 'sentence'?",
        ),
        (
            with_turns("{% user %}{{ 3 is evn }}{% enduser %}"),
            "t.jinja:3:1: there is no test 'evn'; did you mean 'even'?",
        ),
        (with_turns("{% user %}q{% enduser %}"), "found ['user']"),
        (with_turns(TURNS + "{% system %}x{% endsystem %}"), "found ['user', 'assistant', 'system']"),
        (with_turns("{% assistant %}x{% endassistant %}{% user %}q{% enduser %}"), "found ['assistant', 'user']"),
        (one_variant("{{ loop.index }}"), "t.jinja:3:1: loop is there only inside {% for %}"),
        (one_variant("{{ image(answer) }}"), "t.jinja:4:1: write image(0), image(1), ... with a plain number"),
        (one_variant("{{ image(324) }}"), "t.jinja:4:1: write image(0), image(1), ... with a plain number below 324"),
        (one_variant("{{ image(0, 1) }}"), "t.jinja:4:1: write image(0), image(1), ... with a plain number"),
        (
            one_variant("x", top='{% from "gone.jinja" import x %}'),
            "t.jinja:2:1: there is no template 'gone.jinja'",
        ),
    ],
)
def test_a_template_that_is_not_in_order_is_refused_with_its_line(wrong, text, told):
    problem = wrong(text)
    assert problem.startswith("t.jinja:")
    assert told in problem


def test_a_fault_in_an_imported_file_names_that_file(wrong):
    text = one_variant("x", top='{% from "words.jinja" import x %}')
    assert wrong(text, words="\n{% macro x() %}").startswith("words.jinja:2:1: Unexpected end of template")


def test_a_template_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(SpecError, match=r"template nothing: there is no template 'nothing\.jinja' in .*templates"):
        find_template("nothing", [tmp_path])
    (tmp_path / "latin.jinja").write_bytes("{# é #}".encode("latin-1"))
    with pytest.raises(SpecError, match=r"latin\.jinja:1:1: cannot be read: 'utf-8' codec"):
        find_template("latin", [tmp_path])


HOSTILE_AT_COMPILATION = [
    ('{% include "words.jinja" %}', "include, extends and block are not for templates"),
    ('{% extends "words.jinja" %}', "include, extends and block are not for templates"),
    ("{% block x %}{% endblock %}", "include, extends and block are not for templates"),
    ("{% include answer %}", "include, extends and block are not for templates"),
    ("{% import answer as x %}", "an import must name its file as a plain text"),
    ('{% from "a" ~ ".jinja" import x %}', "an import must name its file as a plain text"),
    ("{% import 3 as x %}", "an import must name its file as a plain text"),
    ('{% from "/etc/passwd" import x %}', "must be the name of a file in a folder of templates, not a path"),
    ('{% from "../secret.txt" import x %}', "must be the name of a file in a folder of templates, not a path"),
    ('{% from "./words.jinja" import x %}', "must be the name of a file in a folder of templates, not a path"),
    ('{% import ".." as x %}', "there is no template '..' in "),
]


@pytest.mark.parametrize(("text", "told"), HOSTILE_AT_COMPILATION)
@pytest.mark.parametrize("where", ["top", "turn"])
def test_nothing_but_files_of_the_folder_is_read(wrong, tmp_path, text, told, where):
    (tmp_path.parent / "secret.txt").write_text("topsecret")
    whole = one_variant("{{ x }}", top=text) if where == "top" else one_variant(text)
    problem = wrong(whole, words="{% macro x() %}{% endmacro %}")
    assert problem.startswith("t.jinja:2:1: " if where == "top" else "t.jinja:4:1: ")
    assert told in problem


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ answer.__class__ }}",
        "{{ answer['__class__'] }}",
        "{{ answer | attr('__class__') }}",
        "{{ [answer] | map(attribute='__class__') | join }}",
        "{{ '{0.__class__}'.format(answer) }}",
        "{{ '{:>1000000000}'.format(answer) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ answer.ljust(1000000000) }}",
        "{{ answer.upper() }}",
        "{{ answer.encode() }}",
        "{{ image_count.real }}",
        "{{ range.__init__.__globals__ }}",
        "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m.arguments }}",
        "{{ self.__class__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ lipsum(100000) }}",
        "{{ namespace(a=1) }}",
        "{{ dict(a=1) }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * [answer] }}",
        "{{ 9 ** 999999999 }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{{ range(1000000000) | list }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'a' | format }}",
        "{{ answer | pprint }}",
        "{{ nothing.at_all }}",
        "{{ answer() }}",
    ],
)
def test_a_hostile_prompt_gives_no_text(tmp_path, text):
    """Refused when compiled, or for every record; never run."""
    try:
        template = compiled(tmp_path, one_variant(text))
        columns = {name: ["x"] for name in template.columns}
        rendered = render(
            template,
            columns
            | {
                "answer": [
                    "a",
                ],
                "id": ["r1"],
            },
        )
    except SpecError as error:
        assert error.problems[0].startswith(f"{tmp_path}/t.jinja:4:1: ")
    else:
        ((row, reason, detail),) = faults(rendered)
        assert (row, reason) == (0, "template_error")
        assert detail.startswith(f"{tmp_path}/t.jinja:4: ")
        assert prompts(rendered) == []


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.txt").write_text("topsecret")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "words.jinja").symlink_to(tmp_path / "secret.txt")
    text = one_variant("{{ words }}", top='{% import "words.jinja" as words %}')
    with pytest.raises(SpecError, match=r"words\.jinja:1:1: is a link that leads out of its folder of templates"):
        compiled(tmp_path / "mine", text)
    # The folder itself may be a link.
    (tmp_path / "linked").symlink_to(tmp_path / "mine")
    write(tmp_path / "mine", u=one_variant("Hi."))
    assert find_template("u", [tmp_path / "linked"]).name == "u"


def test_numbers_still_calculate(tmp_path):
    text = one_variant(
        "{{ 2 * image_count }} {{ 7 % 4 }} {{ range(3) | list }} {% for i in range(2) %}{{ loop.index }}{% endfor %}"
    )
    assert prompts(render(compiled(tmp_path, text), {"answer": ["a"]})) == ["0 3 [0, 1, 2] 12"]


def test_an_imported_file_is_used_by_its_name(tmp_path):
    text = one_variant('{{ words.hi("you") }}', top='{% import "words.jinja" as words %}')
    template = compiled(tmp_path, text, words="{% macro hi(whom) %}Hi, {{ whom }}!{% endmacro %}")
    assert prompts(render(template, {"answer": ["a"]})) == ["Hi, you!"]


def test_a_struct_gives_its_fields(tmp_path):
    import pyarrow as pa

    prior = pa.array([{"date": "2020", "items": "two"}, {"date": None, "items": "none"}])
    template = compiled(tmp_path, one_variant("{{ prior.date }} {{ prior['items'] }}"))
    assert prompts(render(template, {"prior": prior, "answer": ["a", "b"]})) == ["2020 two", "None none"]


def test_compiling_reads_no_more_than_the_source(tmp_path):
    text = one_variant("{{ hi() }}", top='{% from "w.jinja" import hi %}')
    source = find_template("t", [write(tmp_path, t=text, w="{% macro hi() %}hi{% endmacro %}")])
    for name in ("t.jinja", "w.jinja"):
        (tmp_path / name).unlink()
    assert prompts(render(CompiledTemplate(source), {"answer": ["a"]})) == ["hi"]
