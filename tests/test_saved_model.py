def test_x(exported):
    assert (exported / "saved_model.pb").exists()
