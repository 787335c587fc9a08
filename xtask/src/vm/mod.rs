//! Boots one kernel under QEMU. The plan is in the initramfs, and the guest sends its results
//! through the second serial port.
//!
//! Everything is emulated (no KVM), so it runs on any machine. One thread emulates both CPUs of the
//! guest. That costs no time, and the kernel does not patch code while another CPU runs it: with
//! one thread per CPU, 7.3 dies of that now and then.

pub(crate) mod initramfs;
pub(crate) mod machine_type;
pub(crate) mod programs;
pub(crate) mod timing;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use oomwhy_tests::outbox;
use oomwhy_tests::plan::{CONSOLE_BEGIN, END_MARKER, ERROR_FILE, Plan};

use crate::fetch::kernel::CachedKernel;
use crate::process;
use initramfs::Initramfs;
use machine_type::MachineType;

const CONSOLE_LINES_SHOWN: usize = 60;
const CONSOLE_FILE: &str = "console.log";
/// The console of a first attempt that did not reach the end of its plan.
const FIRST_CONSOLE_FILE: &str = "console-of-first-attempt.log";

/// A guest that has not started its init within this part of the time limit never will (seen once,
/// on 7.3).
const BOOT_SHARE: u32 = 5;

/// The source of the guest's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Wall-clock time; two CPUs.
    Wall,
    /// Instructions of the guest: one is one nanosecond, and idle time is skipped. Measurements can
    /// be repeated, however busy the host is. Needs a single CPU.
    Instructions,
}

impl Clock {
    const fn n_cpus(self) -> &'static str {
        match self {
            Self::Wall => "2",
            Self::Instructions => "1",
        }
    }

    const fn time_limit(self) -> Duration {
        match self {
            Self::Wall => Duration::from_mins(10),
            Self::Instructions => Duration::from_mins(20),
        }
    }
}

/// A machine to boot.
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a CachedKernel,
    pub(crate) initramfs: &'a Initramfs,
    pub(crate) plan: &'a Plan,
    pub(crate) memory_mib: u32,
    pub(crate) clock: Clock,
    /// Added to the kernel's command line.
    pub(crate) cmdline: &'a str,
    /// Added to QEMU's command line.
    pub(crate) qemu_args: &'a [&'a str],
    /// The size of a disk for swap; no disk if 0.
    pub(crate) swap_mib: u64,
    /// Whether the guest's console is shown while it runs.
    pub(crate) live: bool,
    /// The directory of the results; older ones are deleted.
    pub(crate) results: PathBuf,
}

/// A boot that reached the end of its plan.
pub(crate) struct Booted {
    pub(crate) seconds: f64,
    pub(crate) retried: bool,
}

impl<'a> Machine<'a> {
    /// A machine of the usual size, whose console is not shown.
    pub(crate) const fn new(
        kernel: &'a CachedKernel,
        initramfs: &'a Initramfs,
        plan: &'a Plan,
        results: PathBuf,
    ) -> Self {
        Self {
            kernel,
            initramfs,
            plan,
            memory_mib: 512,
            clock: Clock::Wall,
            cmdline: "",
            qemu_args: &[],
            swap_mib: 0,
            live: false,
            results,
        }
    }

    /// Boots the machine. A guest that does not reach the end of its plan is booted a second time.
    pub(crate) fn boot(&self) -> Result<Booted> {
        let start = Instant::now();
        let mut first_console = None;
        loop {
            let ending = self.boot_once()?;
            let retried = first_console.is_some();
            if let Some(console) = &first_console {
                fs::write(self.results.join(FIRST_CONSOLE_FILE), console)?;
            }
            let error = fs::read_to_string(self.results.join(ERROR_FILE)).unwrap_or_default();
            if !error.is_empty() {
                bail!("the guest failed: {}\n{}", error.trim_end(), self.console_tail());
            }
            if self.results.join(END_MARKER).exists() {
                return Ok(Booted { seconds: start.elapsed().as_secs_f64(), retried });
            }
            if retried {
                bail!(
                    "the guest did not reach the end of its plan, twice ({ending})\n{}",
                    self.console_tail()
                );
            }
            eprintln!(
                "{}: the guest did not reach the end of its plan ({ending}); booting again",
                self.kernel
            );
            first_console = fs::read(self.results.join(CONSOLE_FILE)).ok();
        }
    }

    fn boot_once(&self) -> Result<String> {
        let _ = fs::remove_dir_all(&self.results);
        fs::create_dir_all(&self.results)
            .with_context(|| format!("{} cannot be created", self.results.display()))?;
        let scratch = tempfile::tempdir().context("no temporary directory")?;
        let initrd = scratch.path().join("initrd");
        fs::write(&initrd, self.initramfs.with_plan(self.plan)?)?;
        let serial = scratch.path().join("serial");

        let mut command = self.qemu(&initrd, &serial)?;
        if self.swap_mib > 0 {
            let disk = scratch.path().join("swap");
            File::create(&disk)?.set_len(self.swap_mib << 20)?;
            command.args(["-device", "nvme,serial=swap,drive=swap", "-drive"]);
            command.arg(format!("if=none,id=swap,format=raw,file={}", disk.display()));
        }
        let mut qemu = command.spawn().context("QEMU cannot be started")?;
        let stdout = qemu.stdout.take();
        let console = File::create(self.results.join(CONSOLE_FILE))?;
        let live = self.live;
        let copying = thread::spawn(move || copy_console(stdout, console, live));
        let ending = self.wait(&mut qemu)?;
        if let Ok(Err(error)) = copying.join() {
            eprintln!("the guest's console was lost: {error:#}");
        }
        let serial = File::open(&serial).context("the guest's second serial port is missing")?;
        outbox::unpack(serial, &self.results)?;
        Ok(ending)
    }

    fn qemu(&self, initrd: &Path, serial: &Path) -> Result<Command> {
        let machine = MachineType::of(self.kernel.arch);
        // The kernel passes the word in capitals to init, as a variable of its environment.
        let cmdline = format!(
            "console={} quiet panic=-1 loglevel=3 log_buf_len=4M printk.devkmsg=on \
             OOMWHY_HELPER_DEADLINE_FACTOR=30 {}",
            machine.console, self.cmdline
        );
        let mut qemu = process::command(machine.qemu)?;
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .args(machine.qemu_args)
            .args(["-accel", "tcg,thread=single", "-smp", self.clock.n_cpus()])
            .args(["-m", &format!("{}M", self.memory_mib)])
            .args(["-serial", "stdio"])
            .args(machine.results_to(&serial.display().to_string()))
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", cmdline.trim_end()])
            .args(self.qemu_args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if self.clock == Clock::Instructions {
            qemu.args(["-icount", "shift=0,sleep=off"]);
        }
        Ok(qemu)
    }

    fn console_tail(&self) -> String {
        let path = self.results.join(CONSOLE_FILE);
        let console = fs::read(&path).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<&str> = console.lines().collect();
        let tail = &lines[lines.len().saturating_sub(CONSOLE_LINES_SHOWN)..];
        format!("the last lines of {}:\n  {}", path.display(), tail.join("\n  "))
    }

    /// Waits until the guest powers off; kills it when its time is up.
    fn wait(&self, qemu: &mut Child) -> Result<String> {
        let start = Instant::now();
        let limit = self.clock.time_limit();
        let mut has_booted = false;
        loop {
            if let Some(status) = qemu.try_wait()? {
                return Ok(if status.success() {
                    "powered off".into()
                } else {
                    status.to_string()
                });
            }
            let passed = start.elapsed();
            has_booted = has_booted || (passed > limit / BOOT_SHARE && self.has_booted());
            if passed > limit || (passed > limit / BOOT_SHARE && !has_booted) {
                qemu.kill()?;
                qemu.wait()?;
                let what = if has_booted { "" } else { " without a sign of life" };
                return Ok(format!("stopped after {} s{what}", passed.as_secs()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn has_booted(&self) -> bool {
        let console = fs::read(self.results.join(CONSOLE_FILE)).unwrap_or_default();
        String::from_utf8_lossy(&console).contains(CONSOLE_BEGIN)
    }
}

fn copy_console(stdout: Option<impl Read>, mut log: File, live: bool) -> Result<()> {
    let Some(stdout) = stdout else { return Ok(()) };
    let mut show = false;
    for line in BufReader::new(stdout).split(b'\n') {
        let bytes = line?;
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end_matches('\r');
        writeln!(log, "{line}")?;
        // The lines before are the firmware's, with escape sequences.
        if show {
            println!("{line}");
        }
        show |= live && line.ends_with(CONSOLE_BEGIN);
    }
    Ok(())
}
