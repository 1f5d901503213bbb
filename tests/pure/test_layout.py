"""Where the nodes of a graph stand."""

import random

from forensics.layout import Measures, layers_of, place


def boxes(layout, measures):
    return {key: (x, y, x + measures.width, y + measures.height) for key, (x, y) in layout.corners.items()}


def test_a_child_stands_right_of_all_its_parents():
    layer = layers_of("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")])
    assert layer == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_the_order_in_which_nodes_are_named_does_not_matter():
    assert layers_of("dcba", [("a", "b"), ("b", "c"), ("c", "d")]) == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_a_straight_line_is_drawn_straight():
    layout = place("abc", [("a", "b"), ("b", "c")])
    assert len({y for _, y in layout.corners.values()}) == 1


def test_nothing_overlaps_and_all_of_it_is_inside():
    measures = Measures()
    for seed in range(30):
        chance = random.Random(seed)
        keys = list(range(chance.randint(1, 60)))
        edges = sorted({(chance.randrange(k), k) for k in keys[1:] for _ in range(chance.randint(0, 3))})
        layout = place(keys, edges, measures)
        placed = list(boxes(layout, measures).values())
        for number, (left, top, right, bottom) in enumerate(placed):
            assert min(left, top) >= 0 and right <= layout.width and bottom <= layout.height
            for other in placed[:number]:
                apart = right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
                assert apart, (seed, number)
        assert set(layout.routes) == set(edges)


def test_an_edge_that_passes_over_a_layer_runs_beside_its_nodes():
    measures = Measures()
    layout = place("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")], measures)
    _, top, _, bottom = boxes(layout, measures)["b"]
    passing = [y for x, y in layout.routes["a", "c"][1:-1]]
    assert passing and all(y < top or y > bottom for y in passing)


def test_an_empty_graph_and_one_node_can_be_drawn():
    assert place([], []).corners == {}
    assert len(place(["a"], []).corners) == 1
