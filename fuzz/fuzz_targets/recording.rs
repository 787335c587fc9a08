//! `oomwhy replay FILE` reads a file that may have come from elsewhere, and the records in it are
//! what the pipeline would otherwise get from the kernel.
#![no_main]

use std::{cell::RefCell, fs, io, rc::Rc};

use libfuzzer_sys::fuzz_target;
use oomwhy::testing::{JsonSink, Outputs, Pipeline, PipelineConfig, Record, replay};

fuzz_target!(|data: &[u8]| {
    let path = format!("/dev/shm/oomwhy-fuzz-{}", std::process::id());
    fs::write(&path, data).unwrap();
    let out = Shared::default();
    // Damage is an answer too.
    let _ = replay(path.as_ref(), |host| {
        let mut outputs = Outputs::default();
        outputs.add(JsonSink::new(out.clone()));
        Pipeline::new(PipelineConfig::new(host, outputs))
    });
    for line in out.0.borrow().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        serde_json::from_slice::<Record>(line).unwrap();
    }
});

/// What the sink wrote, to be read when the pipeline is gone.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
