"""The shortcuts that runs in tests take change nothing but their time."""

import shortcuts
import torch
import torchvision


def test_a_remembered_network_is_made_as_ever() -> None:
    make = torchvision.models.get_model
    plain = make.make if isinstance(make, shortcuts.Remembered) else make
    remembered = shortcuts.Remembered(plain)
    found = []
    for each in (plain, remembered, remembered):
        torch.manual_seed(5)
        network = each("resnet18")
        weights = {name: weight.clone() for name, weight in network.state_dict().items()}
        found.append((weights, torch.rand(3)))
        with torch.no_grad():
            network.conv1.weight.zero_()  # not those of the next
    assert len(remembered.made) == 1
    torch.testing.assert_close(found[1:], [found[0]] * 2, atol=0, rtol=0)
    torch.manual_seed(6)
    assert not torch.equal(remembered("resnet18").fc.weight, found[0][0]["fc.weight"])
    with torch.device("meta"):
        assert remembered("resnet18").fc.weight.is_meta
