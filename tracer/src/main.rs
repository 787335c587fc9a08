//! interim
use oomwhy::command::{Form, Output, Wishes, watch::{Options, watch}};
fn main() -> std::process::ExitCode {
    let a: Vec<String> = std::env::args().collect();
    let form = match a.iter().position(|x| x == "-o").map(|i| a[i+1].as_str()) { Some("json") => Form::Json, Some("events") => Form::Events, _ => Form::Text };
    let record = a.iter().position(|x| x == "--record").map(|i| a[i+1].clone().into());
    let out = Output { form, to: Box::new(std::io::stdout()), color: anstream::ColorChoice::Never };
    let r = if a.get(1).is_some_and(|x| x == "replay") { oomwhy::command::replay(a[2].as_ref(), Wishes::default(), out) } else { watch(&Options{record, ..Options::default()}, Wishes::default(), out) };
    match r { Ok(()) => 0.into(), Err(f) => { eprintln!("oomwhy: {}", f.message); f.exit.into() } }
}
