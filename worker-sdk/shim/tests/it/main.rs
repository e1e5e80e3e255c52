//! Real commands through the real program against a real broker; the test plays the coordinator.

// The same fleet as the tests of the SDK have; not all of it is needed here.
#[expect(dead_code, reason = "shared with the tests of the SDK")]
#[path = "../../../tests/it/harness.rs"]
mod harness;
#[expect(dead_code, reason = "shared with the tests of the SDK")]
#[path = "../../../tests/it/script.rs"]
mod script;
#[expect(dead_code, reason = "shared with the tests of the SDK")]
#[path = "../../../tests/it/server.rs"]
mod server;

mod archive;
mod hostile;
mod limits;
mod once;
mod persistent;
mod shim;
