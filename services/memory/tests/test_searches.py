"""Search by meaning, through the front door, with the real embedder."""

async def test_the_nearest_text_comes_first(memory: "Replica") -> None:  # noqa
    for t in ["The cat sleeps on the sofa.", "Interest rates rose again.", "The flight to Paris is delayed."]:
        await memory.save(t)
    assert (await memory.found("Where does the kitten nap?"))[0] == "The cat sleeps on the sofa."
