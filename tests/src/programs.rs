//! Small programs whose functions the tests know. The host builds each in another way, or an
//! interpreter runs them under their name.

/// A program whose functions are known.
#[derive(Debug)]
pub struct Program {
    /// Its name, which ps shows, and its file below /bin in the guest.
    pub name: &'static str,
    /// Its source, in `tests/programs`.
    pub source: &'static str,
    /// Options of the compiler or of the interpreter.
    pub options: &'static [&'static str],
    /// The functions that it allocates in, innermost first.
    pub allocates_in: &'static [&'static str],
    /// The functions that it waits in, innermost first.
    pub rests_in: &'static [&'static str],
    /// The interpreter's part of its command line, before the workload's part.
    pub words: &'static [&'static str],
}

impl Program {
    /// Whether an interpreter runs it, with frames of the interpreter between those of its
    /// functions.
    pub const fn is_interpreted(&self) -> bool {
        !self.words.is_empty()
    }
}

/// Unoptimized code has frame pointers, even in functions that call no other function.
const FRAME_POINTERS: &[&str] = &["grow_in_c", "outer_in_c", "grow", "main"];
const RESTS: &[&str] = &["rest_in_c"];

/// The programs whose stacks the tests compare, one per language and build.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "c-static",
        source: "leak.c",
        options: &["-static", "-no-pie", "-O0"],
        allocates_in: FRAME_POINTERS,
        rests_in: RESTS,
        words: &[],
    },
    Program {
        name: "c-static-pie",
        source: "leak.c",
        options: &["-static-pie", "-O0"],
        allocates_in: FRAME_POINTERS,
        rests_in: RESTS,
        words: &[],
    },
    Program {
        name: "c-dynamic",
        source: "leak.c",
        options: &["-pie", "-O0"],
        allocates_in: FRAME_POINTERS,
        rests_in: RESTS,
        words: &[],
    },
    // Without frame pointers the innermost function is known, but not its caller.
    Program {
        name: "c-no-fp",
        source: "leak.c",
        options: &["-static", "-no-pie", "-fomit-frame-pointer"],
        allocates_in: &["grow_in_c"],
        rests_in: RESTS,
        words: &[],
    },
    Program {
        name: "c-made",
        source: "leak.c",
        options: &["-static-pie", "-DMADE"],
        allocates_in: &["made_at_run_time"],
        rests_in: RESTS,
        words: &[],
    },
    Program {
        name: "rust",
        source: "leak.rs",
        options: RUST,
        allocates_in: &["leak::grow_in_rust", "leak::main"],
        rests_in: &[],
        words: &[],
    },
    Program {
        name: "cpp",
        source: "leak.cc",
        options: &["-static", "-no-pie", "-O0"],
        allocates_in: &[
            "leaking::Leak<int>::grow(unsigned long)",
            "leaking::outer(void*, unsigned long)",
            "main",
        ],
        rests_in: &[],
        words: &[],
    },
    // Go's linker writes no build id where the kernel looks for one, so the stack has addresses
    // only. Functions get names only if they are looked up in time, which the containers test.
    Program {
        name: "go",
        source: "leak.go",
        options: &[],
        allocates_in: &["main.growInGo", "main.outerInGo", "main.main", "runtime.main"],
        rests_in: &[],
        words: &[],
    },
    Program {
        name: "c-alloc",
        source: "alloc_fixed.c",
        options: ALLOC_FIXED,
        allocates_in: &["touch_pages", "until_killed", "main"],
        rests_in: &[],
        words: &[],
    },
    Program {
        name: "cpp-alloc",
        source: "alloc_fixed.cpp",
        options: ALLOC_FIXED,
        allocates_in: &[
            "alloc_fixed::touch_pages(char volatile*, unsigned long)",
            "alloc_fixed::until_killed()",
            "main",
        ],
        rests_in: &[],
        words: &[],
    },
    Program {
        name: "rust-alloc",
        source: "alloc_fixed.rs",
        options: RUST,
        allocates_in: &[
            "alloc_fixed::touch_pages",
            "alloc_fixed::until_killed",
            "alloc_fixed::main",
        ],
        rests_in: &[],
        words: &[],
    },
    Program {
        name: "py-alloc",
        source: "alloc_fixed.py",
        options: &[],
        allocates_in: &["py::until_killed:", "py::main:"],
        rests_in: &[],
        // Isolated from the environment and from other modules; writes only its perf map.
        words: &["-I", "-S", "-B", "-X", "perf", "/programs/alloc_fixed.py"],
    },
];

const ALLOC_FIXED: &[&str] = &["-static", "-O0"];
const RUST: &[&str] =
    &["-Copt-level=2", "-Ctarget-feature=+crt-static", "-Cforce-frame-pointers=yes"];

/// The functions in which a program allocates, each the amount of its last argument.
pub fn allocating_functions(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "c-alloc" => Some(&[
            "by_file",
            "by_mmap",
            "in_child",
            "by_malloc",
            "by_populate",
            "on_stack",
            "shared",
            "in_thread",
        ]),
        "cpp-alloc" => Some(&["by_new", "by_vector", "by_template", "in_method"]),
        "rust-alloc" => Some(&[
            "by_disk",
            "by_mmap",
            "in_child",
            "by_small_vecs",
            "by_large_vec",
            "by_tmpfs",
            "by_populate",
            "on_stack",
            "shared",
            "in_thread",
        ]),
        // All memory below copy_on_write belongs to in_child, which the child calls through the
        // parent's perf trampoline.
        "py-alloc" => Some(&[
            "by_file",
            "by_mmap",
            "copy_on_write",
            "in_child",
            "by_small",
            "by_large",
            "shared",
            "in_thread",
        ]),
        _ => None,
    }
}

/// The number of a program, with which a workload becomes it; out of range if there is none.
pub const fn number(name: &str) -> usize {
    let mut number = 0;
    while number < PROGRAMS.len() {
        if same(PROGRAMS[number].name.as_bytes(), name.as_bytes()) {
            return number;
        }
        number += 1;
    }
    number
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The path of an interpreted program's source in the guest.
pub fn source_path(program: &Program) -> String {
    format!("/programs/{}", program.source)
}

/// The path of a program in the guest.
pub fn path(number: usize) -> Option<String> {
    Some(format!("/bin/{}", PROGRAMS.get(number)?.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_by_name() {
        for (index, program) in PROGRAMS.iter().enumerate() {
            assert_eq!(number(program.name), index);
            assert!(path(index).is_some_and(|path| path.ends_with(program.name)));
            let source = source_path(program);
            assert!(!program.is_interpreted() || program.words.contains(&source.as_str()));
        }
        assert_eq!(path(number("c-stat")), None);
    }
}
