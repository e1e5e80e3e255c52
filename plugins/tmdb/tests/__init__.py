"""The tests of the plugin: ./test runs them."""
