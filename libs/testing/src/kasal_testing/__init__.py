"""What tests of Kasal share: real servers, the whole application, a scripted model server."""
