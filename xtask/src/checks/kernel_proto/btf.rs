//! The prototypes of a kernel's functions. `cargo xtask fixtures --btf` reads them from the
//! kernel's whole BTF and keeps them as text.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use btf_rs::{Btf, BtfType, Func, Type};

use super::prototype::{Argument, Kind, Prototype};
use super::{Claim, collect};

/// Prefix of the function that calls the probes of a tracepoint. Its first argument is its own, the
/// others are those of the tracepoint.
const TRACEPOINT: &str = "__traceiter_";

pub(super) fn read(path: &Path) -> Result<Vec<Prototype>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let lines = text.lines().map(|line| {
        line.parse().with_context(|| format!("{}: {line:?} is no prototype", path.display()))
    });
    lines.collect()
}

/// Writes the fixture of a kernel: the prototypes of all functions that a comment names.
pub(crate) fn record(btf: &Path, kernel: &str) -> Result<()> {
    let (mut claims, mut problems) = (Vec::new(), Vec::new());
    for source in crate::checks::sources(super::PROBES, &["rs"])? {
        collect(&source.path, &source.text, &mut claims, &mut problems);
    }
    let names =
        |Claim { prototype, .. }: &Claim| (prototype.name.clone(), prototype.returns.is_none());
    let wanted: BTreeSet<(String, bool)> = claims.iter().map(names).collect();
    let read = Btf::from_file(btf).with_context(|| format!("{} is no BTF", btf.display()))?;
    let mut lines = Vec::new();
    for (name, is_tracepoint) in wanted {
        let prototype = prototype(&read, name, is_tracepoint)?;
        lines.extend(prototype.map(|prototype| format!("{prototype}\n")));
    }
    let target = super::file(kernel);
    fs::write(&target, lines.concat())
        .with_context(|| format!("{} cannot be written", target.display()))
}

/// `None` if this kernel has no such function.
fn prototype(btf: &Btf, name: String, is_tracepoint: bool) -> Result<Option<Prototype>> {
    let function = if is_tracepoint { format!("{TRACEPOINT}{name}") } else { name.clone() };
    let types = btf.resolve_types_by_name(&function).unwrap_or_default();
    let Some(function) = types.into_iter().find_map(function_of) else { return Ok(None) };
    let Type::FuncProto(all) = btf.resolve_chained_type(&function)? else {
        bail!("the BTF has {name} without a prototype");
    };
    let mut arguments = Vec::new();
    for parameter in all.parameters.iter().skip(usize::from(is_tracepoint)) {
        let kind = kind(btf, parameter.get_type_id().unwrap_or_default())?;
        arguments.push(Argument { kind, name: btf.resolve_name(parameter)? });
    }
    let returns = if is_tracepoint { None } else { Some(kind(btf, all.return_type_id())?) };
    Ok(Some(Prototype { returns, name, arguments }))
}

fn function_of(found: Type) -> Option<Func> {
    match found {
        Type::Func(function) => Some(function),
        _ => None,
    }
}

fn kind(btf: &Btf, id: u32) -> Result<Kind> {
    let mut tokens = Vec::new();
    let mut next = id;
    loop {
        let found = btf.resolve_type_by_id(next)?;
        let (token, is_last) = match &found {
            Type::Void => ("void", true),
            Type::Ptr(_) => ("*", false),
            Type::Const(_) => ("const", false),
            Type::Volatile(_) => ("volatile", false),
            Type::TypeTag(_) | Type::Restrict(_) => ("", false),
            Type::Struct(_) => ("struct", true),
            Type::Fwd(forward) if forward.is_struct() => ("struct", true),
            Type::Union(_) | Type::Fwd(_) => ("union", true),
            Type::Enum(_) | Type::Enum64(_) => ("enum", true),
            Type::Int(_) | Type::Typedef(_) => ("", true),
            other => bail!("a {} among the types of a prototype", other.name()),
        };
        tokens.extend((!token.is_empty()).then(|| token.to_owned()));
        let next_type = found.as_btf_type();
        if is_last {
            let name = next_type.map(|it| btf.resolve_name(it)).transpose()?.unwrap_or_default();
            tokens.extend(name.split_whitespace().map(str::to_owned));
            return Ok(Kind::new(&tokens));
        }
        next = next_type.and_then(BtfType::get_type_id).unwrap_or_default();
    }
}
