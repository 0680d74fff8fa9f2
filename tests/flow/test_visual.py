"""The colour wheel."""

import numpy as np

from losh.flow.visual import flow_to_rgb


def test_directions_have_their_colours():
    flow = np.zeros((2, 1, 5), np.float32)
    flow[0, 0, 0], flow[1, 0, 1], flow[0, 0, 2], flow[0, 0, 4] = 4, 4, -4, np.nan
    right, down, left, still, broken = flow_to_rgb(flow, longest=4)[0].tolist()
    assert right == [255, 0, 0]
    assert down[1] == 255 and down[2] == 0
    assert left == [0, 255, 255]
    assert still == [255, 255, 255]
    assert broken == [0, 0, 0]


def test_a_still_field_is_white():
    assert (flow_to_rgb(np.zeros((2, 4, 5))) == 255).all()
