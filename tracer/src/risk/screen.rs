//! The risk report live, on the whole screen: a row per cgroup, and a chart of the need of the
//! selected one.

use std::{io, time::Duration};

use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Cell, Paragraph, Row, Sparkline, Table, TableState},
};

use super::{Level, Risk, RiskReport, table};
use crate::fmt::{
    sanitize::{Safe, sanitize},
    units::{bytes, count},
};

/// Shows a report from `read`, a new one every `interval`, until q, Esc or Ctrl-C is pressed.
pub(crate) fn run(interval: Duration, mut read: impl FnMut() -> RiskReport) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = show(&mut terminal, interval, &mut read);
    ratatui::try_restore()?;
    result
}

fn show(
    terminal: &mut DefaultTerminal,
    interval: Duration,
    read: &mut impl FnMut() -> RiskReport,
) -> io::Result<()> {
    let mut rows = TableState::default().with_selected(0);
    loop {
        let report = read();
        let until = std::time::Instant::now() + interval;
        loop {
            terminal.draw(|frame| draw(frame, &report, &mut rows))?;
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() || !event::poll(left)? {
                break;
            }
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let is_interrupt = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if is_interrupt => return Ok(()),
                    KeyCode::Down | KeyCode::Char('j') => rows.select_next(),
                    KeyCode::Up | KeyCode::Char('k') => rows.select_previous(),
                    _ => {}
                }
            }
        }
    }
}

pub(crate) fn draw(frame: &mut Frame<'_>, report: &RiskReport, rows: &mut TableState) {
    let [title, list, curve, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(7),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let cgroups = count(report.cgroups.len(), "cgroup");
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let from = table::recorder(report).map_or(String::new(), |text| format!("; {text}"));
    frame.render_widget(
        line(format!("oomwhy risk: {cgroups} with a limit{from}")).style(bold),
        title,
    );
    let head = Row::new(["CGROUP", "NEED", "LIMIT", "", "FULL IN", "WOULD DIE"]).style(bold);
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(5),
        Constraint::Length(22),
        Constraint::Fill(2),
    ];
    let lines = report.cgroups.iter().map(row);
    let highlight = Style::new().add_modifier(Modifier::REVERSED);
    let table = Table::new(lines, widths).header(head).row_highlight_style(highlight);
    frame.render_stateful_widget(table, list, rows);
    if let Some(risk) = rows.selected().and_then(|selected| report.cgroups.get(selected)) {
        let mut words = vec![line(label_of(risk))];
        words.extend(table::grown(risk, report).map(line));
        let height = u16::try_from(words.len()).unwrap_or(1);
        let [label, chart] =
            Layout::vertical([Constraint::Length(height), Constraint::Min(1)]).areas(curve);
        frame.render_widget(Paragraph::new(words), label);
        let spark = Sparkline::default().data(risk.history.clone()).max(risk.limit_bytes);
        frame.render_widget(
            spark.style(Style::new().fg(color(risk).unwrap_or(Color::Green))),
            chart,
        );
    }
    frame.render_widget(line("q quit  up/down select"), help);
}

fn label_of(risk: &Risk) -> String {
    let reclaimable = risk.reclaimable_bytes.map_or_else(|| "-".to_owned(), bytes);
    format!(
        "need of {} up to its limit; {reclaimable} can be reclaimed",
        sanitize(risk.path.as_bytes())
    )
}

fn row(risk: &Risk) -> Row<'static> {
    let full_in = risk.time_to_limit.as_ref().map_or_else(|| "-".to_owned(), table::time);
    let style = color(risk).map_or_else(Style::new, |color| Style::new().fg(color));
    let cells = [
        sanitize(risk.path.as_bytes()),
        bytes(risk.need_bytes),
        bytes(risk.limit_bytes),
        format!("{:.0}%", risk.share() * 100.0),
        full_in,
        table::victim(risk),
    ];
    Row::new(cells.map(|cell| Cell::from(line(cell)))).style(style)
}

/// The only way from a text to the screen.
fn line(text: impl Into<Safe>) -> Line<'static> {
    Line::from(String::from(text.into()))
}

fn color(risk: &Risk) -> Option<Color> {
    match risk.level() {
        Level::VeryNear => Some(Color::Red),
        Level::Near => Some(Color::Yellow),
        Level::Far => None,
    }
}
