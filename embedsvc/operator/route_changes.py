"""What a change of a route means for callers, in words: pure."""

from collections.abc import Iterator, Sequence

from embedsvc.routing.route import Route

ALL = 100.0


def differences(old: Route, new: Route) -> Sequence[str]:
    """Say what is otherwise, a line for each."""
    said = {
        "model": f"model {old.model} → {new.model}",
        "other": f"other side {old.other or 'none'} → {new.other or 'none'}",
        "share": f"{old.share:g} % → {new.share:g} % of callers to {new.model}",
        "sticky": f"sticky by {old.sticky} → by {new.sticky}",
        "shadow": f"{old.shadow:g} % → {new.shadow:g} % of requests also to the other side",
        "fallback": f"fallback {_word(old.fallback)} → {_word(new.fallback)}",
    }
    return [f"{new.alias}: {line}" for name, line in said.items() if getattr(old, name) != getattr(new, name)]


def warnings(old: Route, new: Route) -> Iterator[str]:
    """Say what an operator must see to, a line for each."""
    if moved := _moved(old, new):
        yield f"{moved}: their indexes must hold vectors of the model that answers, and of no other"
    if new.fallback and not old.fallback:
        yield "while one side is down the other answers, with vectors of another space; answers say so"


def _moved(old: Route, new: Route) -> str:
    """Who is answered by another model than before; empty where nobody is."""
    if _sides(old) == _sides(new) and (old.sticky == new.sticky or not _sides(new)[1]):
        return ""
    if (old.model, old.other, old.sticky) != (new.model, new.other, new.sticky) or not new.other:
        return f"callers of {new.alias} move to another model"
    one, another = (new.other, new.model) if new.share > old.share else (new.model, new.other)
    return f"{abs(new.share - old.share):g} % of callers move from {one} to {another}"


def _sides(route: Route) -> tuple[str, str, float]:
    """Who answers, who else does, and what percent of the callers the first has."""
    if not route.other or route.share == ALL:
        return route.model, "", ALL
    if not route.share:
        return route.other, "", ALL
    return route.model, route.other, route.share


def _word(is_so: bool) -> str:  # noqa: FBT001 - it is what is put into words
    return "yes" if is_so else "no"
