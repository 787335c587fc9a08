//! The verb `kernels`: fills the cache of kernels.

use anyhow::Result;
use oomwhy_tests::matrix;

use crate::fetch::kernel;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Fetch only this kernel (may be given several times)
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// Fetch newer versions of cached kernels
    #[arg(long)]
    refresh: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    for wanted in matrix::select(&arguments.kernels, matrix::Extent::Whole)? {
        let cached =
            if arguments.refresh { kernel::fetch(&wanted)? } else { kernel::cached(&wanted)? };
        println!("{cached} ({} {})", cached.package, cached.version);
    }
    Ok(())
}
