//! Asks a short-lived child of ours: a hidden command that reads its question from stdin and answers
//! on stdout, both JSON. What it needs memory for is gone with it.

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use serde::{Serialize, de::DeserializeOwned};

/// Takes the name that a log or `ps` shall show; else it is that of the link it was started by, "exe".
pub(crate) fn take_name() {
    // A name is all that is missing without.
    let _ = rustix::thread::set_name(c"oomwhy-names");
}

/// The answer of the hidden command `command` to `question`.
pub(crate) fn ask<A: DeserializeOwned>(command: &str, question: &impl Serialize) -> io::Result<A> {
    let mut child = Command::new("/proc/self/exe")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(question)?)?;
    }
    let output = child.wait_with_output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}
