"""A reader of Graphviz files, strict enough to notice broken ones."""
import re


def parse_dot(text):
    """Nodes, edges and clusters of a Graphviz file; raises for what is no such file."""
    token = re.compile(r'\s*("(?:[^"\\]|\\.)*"|->|[\w.]+|[{}\[\]=,;])', re.S)
    tokens, at = [], 0
    while text[at:].strip():
        match = token.match(text, at)
        if match is None:
            raise ValueError(f"no token at {text[at:at + 40]!r}")
        tokens.append(match.group(1))
        at = match.end()
    nodes, edges, clusters = {}, [], {}
    tokens.reverse()

    def expect(*wanted):
        got = tokens.pop()
        if wanted and got not in wanted:
            raise ValueError(f"expected {wanted}, got {got!r}")
        return got

    def name():
        got = expect()
        if not re.fullmatch(r'"(.*)"|\w+', got, re.S):
            raise ValueError(f"no name: {got!r}")
        return got

    def attributes():
        result = {}
        if tokens[-1] == "[":
            expect("[")
            while tokens[-1] != "]":
                key = name()
                expect("=")
                result[key] = expect().strip('"')
                if tokens[-1] == ",":
                    expect(",")
            expect("]")
        return result

    def body(cluster):
        expect("{")
        while tokens[-1] != "}":
            if tokens[-1] == "subgraph":
                expect("subgraph")
                inner = name()
                if inner in clusters:
                    raise ValueError(f"two clusters {inner}")
                clusters[inner] = {}
                body(inner)
                continue
            first = name()
            if tokens[-1] == "=":
                expect("=")
                if cluster:
                    clusters[cluster][first] = expect().strip('"')
                else:
                    expect()
            elif tokens[-1] == "->":
                expect("->")
                second = name()
                edges.append((first, second, attributes()))
            elif first in nodes:
                raise ValueError(f"two nodes {first}")
            else:
                found = attributes()
                if first not in ("node", "edge"):
                    nodes[first] = found
            expect(";")
        expect("}")

    expect("digraph")
    name()
    body(None)
    if tokens:
        raise ValueError("text behind the graph")
    for first, second, _ in edges:
        if first not in nodes or second not in nodes:
            raise ValueError(f"an edge from {first} to {second}")
    return nodes, edges, clusters
