"""The docs guard on pages for the users of a package: what names nothing of here, and what does."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.support.repositories import Repo

PACKAGE = {
    "name": "motor",
    "version": "1.0.0",
    "scripts": {"build": "true", "docs:check": "true"},
    "dependencies": {"mdx": "1"},
    "devDependencies": {"vite": "1"},
    "peerDependencies": {"react": "1"},
    "optionalDependencies": {"fsevents": "1"},
}
FILES = (
    ".github/workflows/test.yml",
    "CONTRIBUTING.md",
    "benchmarks/run.py",
    "benchmarks/deep/plot.py",
    "docs/index.md",
    "docs/guide/start.md",
    "docs/_templates/page.html",
    "engine/__init__.py",
    "engine/parts/wheel.py",
    "engine/parts/_private.py",
    "examples/parser.js",
    "examples/app/models.py",
    "packages/web/package.json",
    "scripts/release.sh",
    "src/index.ts",
    "tests/conftest.py",
    "tests/data/one.json",
    "themes/basic/searchbox.html",
    "theme/readme/x.py",
)
NO_NAMES = {
    "modules of the package itself": "`motor/esm.mjs` `motor/types.js`",
    "modules of dependencies": "`mdx/types.js` `vite/client.d.ts` `react/jsx-runtime.js` `fsevents/x.js`",
    "modules of a workspace": "`web-kit/button.js`",
    "scoped names": "`@scope/name` `@scope/name/part.js`",
    "the user's scripts": "`npm run start` and `npm test`\n\n```sh\nnpm run dev\npnpm run preview\n```",
    "the user's targets": "`make html`, `make check`",
    "installing": (
        "```sh\nnpm install engine\nnpx engine init my-app\npip install engine/x.py\n"
        "cd my-app && node src/a.js\n```"
    ),
    "the user's files": (
        "`src/main.js` `tests/test_app.py` `lib/x.js` `.github/workflows/engine.yml` `config/a.json`"
    ),
    "the user's folders": "`src/components/` `tests/` `packagename/` `versions/` `static/css/`",
    "the user's template over ours": (
        "`_templates/searchbox.html` `_templates/page.html` `templates/page.html`"
    ),
    "placeholders": (
        "`path/to/file.py` `foo/bar.py` `my-app/x.js` `your_project/a.py` `myapp/a.py` `benchmarks/foo.py`"
    ),
    "capitals that stand for something": (
        "`benchmarks/NAME.py` `benchmarks/N/a.py` `PATH/run.py` `YYYY/x.md` `MY_NAME/x.py`"
    ),
    "patterns": "`src/**/*.py` `benchmarks/{a,b}.py` `benchmarks/<name>.py` `$HOME/x.py` `benchmarks/…`",
    "hosts": "`example.org/a.html` `ghcr.io/engine/engine` `localhost:80/x.js`",
    "URLs": "`https://example.org/docs/x.md` `git@example.org:a/b.git`",
    "addresses and dates": "`192.168.0.0/16` `10.0.0.1/24` `2024/01/31` `129/130`",
    "kinds of media": "`application/json` `text/html` `multipart/form-data` `image/x.vnd+xml`",
    "owners and repositories": (
        "`engine/community` `docker/login-action` `actions/checkout@v4` `benchmarks/action`"
    ),
    "this or that": (
        "`and/or` `try/except` `client/server` `True/False` `pyproject.toml/setup.cfg` `CONTRIBUTING.md/x`"
    ),
    "branches and versions": "`origin/main` `maintenance/2.4.x` `feature/x` `HTTP/1.1` `engine/1.0`",
    "routes": "`/api/users` `api/users` `GET /x/y.json`",
    "Windows paths": "`C:\\dir\\a.py` `C:/dir/a.py`",
    "keys": "`tool.x/y` `compilerOptions.paths/x`",
    "made by tools": (
        "`dist/x.js` `build/a.o` `docs/_build/html/index.html` `coverage/x.info` "
        "`engine.egg-info/SOURCES.txt`"
    ),
    "environments": "`.venv/bin/activate` `node_modules/x/y.js` `.tox/x/y.py` `.git/hooks/pre-commit`",
    "fragments with the number of an issue": "`benchmarks/123.fixed.rst` `changelog.d/1.added.md`",
    "places in a repository of the same name": (
        "`engine/trunk/x.py` `engine/tags/` `engine/submodule/tests`"
    ),
    "the repository by its name": "`engine/CONTRIBUTING.md` `engine/docs/guide/start.md`",
    "names without their extension": "`docs/index` `benchmarks/run`",
    "roles of MyST": "{doc}`benchmarks/gone` {ref}`benchmarks/gone.py`",
    "the user's pages": "`doc/index.md` `docs/TASKS.md`",
    "numbers": "`docs/guide/start2.png` `tests/data/one2.json`",
    "a mark before a name": "`parts/private.py`",
    "names that many files have": "`blog/models.py` `other/conftest.py` `shop/index.ts`",
}
NAMES = {
    "misspelled": ("`benchmarks/rnu.py`", "benchmarks/run.py"),
    "misspelled in a folder of most projects": ("`scripts/relaese.sh`", "scripts/release.sh"),
    "of the old extension": ("`src/index.js`", "src/index.ts"),
    "in the old folder": ("`bench/plot.py` `benchmarks/plot.py`", "benchmarks/deep/plot.py"),
    "removed, in a folder of this project": ("`benchmarks/gone.py`", None),
    "removed, a page": ("`docs/gone.md`", None),
    "removed, in the package": ("`engine/parts/gone.py`", None),
    "a folder misspelled": ("`benchmark/deep/`", "benchmarks/deep"),
    "a script misspelled": ("`npm run biuld`", None),
    "a target misspelled": ("`make chekc-all`", None),
}


@pytest.fixture
def library(empty) -> Repo:
    """A package for others, in Node and in Python."""
    for path in FILES:
        empty.write(path, "Nothing.\n")
    empty.write("package.json", json.dumps(PACKAGE))
    empty.write("packages/web/package.json", '{"name": "web-kit", "scripts": {"serve": "true"}}')
    empty.write("Makefile", "check-all:\n\ttrue\n")
    empty.write("pyproject.toml", '[project]\nname = "engine"\nversion = "1"\n')
    empty.commit()
    return empty


@pytest.fixture
def found(findings_of):
    return partial(findings_of, "docs")


@pytest.mark.parametrize("page", ["README.md", "docs/page.md"])
@pytest.mark.parametrize("text", NO_NAMES.values(), ids=NO_NAMES)
def test_a_page_for_users_names_nothing_of_here(library, found, page, text):
    library.write(page, f"# Use\n\n{text}\n")
    assert found() == []


@pytest.mark.parametrize(("text", "meant"), NAMES.values(), ids=NAMES)
def test_what_a_page_for_users_names_of_here(library, guard, text, meant):
    library.write("readme.md", f"# Use\n\n{text}\n")
    code, out, _ = guard("docs")
    assert code == 1
    if meant:
        assert f"; there is {meant}. [docs-path]" in out


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("`src/gone.js` `tests/gone/` `docs/gone`", ["docs-path"] * 3),
        ("`tools/gone.py`, though there are no tools", ["docs-path"]),
        ("`npm run start`", ["docs-npm-script"]),
        ("`npm run serve` in a workspace", []),
        ("`npm run start` in `packages/web`", []),
        ("`make gone`", ["docs-make-target"]),
        ("`make gone` from the `docs` folder", []),
        ("`old/data/`, `old/tests/conftest.py`, `workflow/test.yml`", ["docs-path"] * 3),
        ("`other/repository.py` `owner/engine` `Lib/os.py`", []),
    ],
)
@pytest.mark.parametrize(
    ("page", "title"),
    [
        ("README.md", "Contributing"),
        ("CONTRIBUTING.md", "x"),
        ("docs/developing.md", "x"),
        ("tasks/a.md", "x"),
    ],
)
def test_pages_and_parts_for_work_are_held_to_all_they_name(library, found, page, title, text, rules):
    library.write(page, f"# Engine\n\n`src/gone.ts` is yours.\n\n## {title}\n\n{text}\n")
    before = [] if page == "README.md" else ["docs-path"]
    assert [one.split()[1] for one in found()] == before + rules


def test_a_page_that_names_what_is_there_is_held_to_the_rest(library, found):
    there = "`scripts/release.sh` `tests/data/one.json` `docs/index.md`"
    library.write("README.md", f"{there} `src/gone.ts`\n")
    assert found() == ["README.md:1 docs-path"]
    library.write("README.md", f"{there} `src/gone.ts` `src/mine.ts`\n")
    assert found() == [], "too much of it is not there"


@pytest.mark.parametrize(
    "manifest", ["setup.py", "setup.cfg", "Cargo.toml", "go.mod", "composer.json", "packages/a/package.json"]
)
def test_what_is_made_for_others_speaks_to_others(empty, found, manifest):
    empty.write("README.md", "`src/gone.js`\n")
    empty.write("src/a.py")
    assert found() == ["README.md:1 docs-path"]
    empty.write("package.json", '{"name": "x", "version": "1.0.0", "private": true}')
    assert found() == ["README.md:1 docs-path"]
    empty.write(manifest, '{"name": "a", "version": "1.0.0"}')
    assert found() == []


@pytest.mark.parametrize(
    "name", ["readme.rst", "README.txt", "Readme", "docs/contributing.rst", "doc/en/dev/x.rst"]
)
def test_pages_of_other_marks(library, found, name):
    library.write(
        name,
        "Contributing\n============\n\nSee ``src/gone.py`` and :file:`tests/gone.py`::\n\n   make gone\n\n"
        ".. code-block:: python\n\n   make no\n\n.. ``src/comment.py``\n",
    )
    kinds = ["docs-path", "docs-path", "docs-make-target"]
    assert sorted(one.split()[1] for one in found()) == sorted(kinds)


def test_a_target_of_the_documentation_is_one(library, found):
    library.write("docs/Makefile", "all-pages:\n\ttrue\n%: Makefile\n\ttrue\n")
    library.write("CONTRIBUTING.md", "`make html` `make all-pages` `make gone`\n")
    library.write("docs/contributing.md", "`make all-pages` `make gone`\n")
    assert found() == ["CONTRIBUTING.md:1 docs-make-target", "docs/contributing.md:1 docs-make-target"]


def test_a_folder_that_leads_out_has_no_makefile(library, found):
    (library.root.parent / "elsewhere").mkdir()
    (library.root.parent / "elsewhere/Makefile").write_text("secret:\n")
    (library.root / "doc").symlink_to("../elsewhere")
    library.write("CONTRIBUTING.md", "`make secret`\n")
    assert found() == ["CONTRIBUTING.md:1 docs-make-target"]


def test_a_notice_where_pages_name_nothing(empty, guard):
    empty.write("README.md", "# x\n\nUse `and/or`, see `src/index.js`.\n")
    empty.write("setup.py", "")
    code, out, _ = guard("docs")
    assert code == 0
    assert out == (
        "Notice: The pages name nothing that could be looked for.\n"
        "docs-guard: no findings; 0 names on 1 page checked.\n"
    )


def test_only_names_that_would_be_missed_are_counted(library, guard):
    library.write("README.md", "`benchmarks/run.py` `tests/conftest.py` `parts/wheel.py` `text/html`\n")
    assert json.loads(guard("docs", "--format", "json")[1])["checked_names"] == 1
