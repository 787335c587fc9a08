//! Readable names of functions. A mangled name of 200 bytes can stand for a text of tens of MB, so
//! the text is cut while it is made, not afterwards.

use std::fmt::{self, Write as _};

use cpp_demangle::{DemangleOptions, Symbol};

use crate::model::names::{MAX_SYMBOL_BYTES, cut};

/// Longer mangled names stay as they are. The names of the largest C++ templates are shorter.
const MAX_MANGLED_BYTES: usize = 8192;

/// The name of a function, demangled if it is mangled as Rust or C++ does it. At most
/// [`MAX_SYMBOL_BYTES`].
pub(super) fn demangled(name: &str) -> String {
    let mangled = Some(name).filter(|name| name.len() <= MAX_MANGLED_BYTES);
    let readable = mangled.and_then(|mangled| rust(mangled).or_else(|| cpp(mangled)));
    readable.unwrap_or_else(|| cut(name, MAX_SYMBOL_BYTES).to_owned())
}

fn rust(mangled: &str) -> Option<String> {
    let symbol = rustc_demangle::try_demangle(mangled).ok()?;
    start_of(|out| write!(out, "{symbol:#}"))
}

fn cpp(mangled: &str) -> Option<String> {
    let symbol = Symbol::new(mangled).ok()?;
    start_of(|out| symbol.structured_demangle(out, &DemangleOptions::default()))
}

/// The start of the text that a function writes. The function learns by an error that no more is
/// wanted. `None` if it fails for another reason.
fn start_of(write: impl FnOnce(&mut Start) -> fmt::Result) -> Option<String> {
    let mut start = Start::default();
    let written = write(&mut start);
    (written.is_ok() || start.is_full).then_some(start.text)
}

#[derive(Default)]
struct Start {
    text: String,
    is_full: bool,
}

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = cut(text, MAX_SYMBOL_BYTES - self.text.len());
        self.text.push_str(kept);
        self.is_full |= kept.len() < text.len();
        if self.is_full { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn names_of_rust_and_cpp_are_demangled() {
        for (mangled, expected) in [
            ("_ZN5space3fooEibc", "space::foo(int, bool, char)"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("try_charge_memcg", "try_charge_memcg"),
            ("_Z", "_Z"),
            ("", ""),
        ] {
            assert_eq!(demangled(mangled), expected);
        }
    }

    /// Each level is a template with the one before it, twice: 2^n names.
    pub(crate) fn doubling(levels: usize) -> String {
        let mut name = "_Z1f1AIiiE".to_owned();
        for level in 0..levels {
            // The substitutions count S_, S0_, S1_, ... in base 36.
            let last = match level {
                0 => "S0_".to_owned(),
                _ => format!("S{}_", base_36(level)),
            };
            write!(name, "S_I{last}{last}E").unwrap();
        }
        name
    }

    fn base_36(number: usize) -> String {
        char::from_digit(u32::try_from(number).unwrap(), 36).unwrap().to_ascii_uppercase().into()
    }

    #[test]
    fn name_that_stands_for_megabytes_is_cut_at_once() {
        let mangled = doubling(22);
        let begin = Instant::now();
        let name = demangled(&mangled);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        assert_eq!(name.len(), MAX_SYMBOL_BYTES, "{name}");
        assert!(name.starts_with("f(A<int, int>, A<A<int, int>, A<int, int> >"), "{name}");
    }

    #[test]
    fn long_name_is_cut() {
        assert_eq!(demangled(&"x".repeat(64 << 20)).len(), MAX_SYMBOL_BYTES);
        assert_eq!(demangled(&format!("_ZN600{}E", "y".repeat(600))).len(), MAX_SYMBOL_BYTES);
    }
}
