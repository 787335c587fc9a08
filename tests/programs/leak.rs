//! Takes as many MiB as its last argument says, in a function that a stack shall name, then rests.

#[inline(never)]
fn grow_in_rust(memory: &mut [u8]) {
    for byte in memory.iter_mut().step_by(4096) {
        *byte = std::hint::black_box(1);
    }
}

fn main() {
    let mib: usize = std::env::args().next_back().and_then(|mib| mib.parse().ok()).unwrap_or(0);
    // Zeroed by the kernel, when it is touched.
    let mut memory = vec![0_u8; mib << 20];
    grow_in_rust(&mut memory);
    println!("ready");
    loop {
        std::thread::park();
        std::hint::black_box(&memory);
    }
}
