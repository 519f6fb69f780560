"""No two modules of the package import each other, directly or through others, type-checking imports included."""

import grimp


def test_no_circles() -> None:
    graph = grimp.build_graph("probe_ext", exclude_type_checking_imports=False, cache_dir=None)
    # The package itself stands for the names that it re-exports to locustfiles.
    imports = {m: set(graph.find_modules_directly_imported_by(m)) - {"probe_ext"} for m in graph.modules}
    remaining = imports.keys() - {"probe_ext"}
    while leaves := {module for module in remaining if not imports[module] & remaining}:
        remaining -= leaves
    while tops := {m for m in remaining if not any(m in imports[other] for other in remaining)}:
        remaining -= tops  # they only import a circle
    assert not remaining, f"these modules import each other: {sorted(remaining)}"
