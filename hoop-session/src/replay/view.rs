//! How it looks: made for 80 columns and 24 lines, and for more.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Clear, Gauge, List, ListItem, ListState, Paragraph, Wrap};

use super::state::Player;
use crate::session::{Category, Event};
use crate::show::{clock, elapsed};
use crate::text::{line, lines};

const HELP: [(&str, &str); 10] = [
    ("space", "pause, go on; at the end: again"),
    ("left, right", "seek"),
    ("Home, End", "to the start, to the end"),
    ("n", "to the next record that is shown"),
    ("up, down", "look back, and forth"),
    ("+, -", "faster, slower"),
    ("/", "search; Enter keeps it, Esc ends it"),
    ("f", "filter: all, denied, calls, processes, network"),
    ("?", "this help"),
    ("q", "quit"),
];

pub(super) fn draw(player: &Player<'_>, frame: &mut Frame<'_>) {
    let area = frame.area();
    let details = if area.height >= 20 {
        area.height / 3
    } else {
        0
    };
    let rows = [
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(details),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [head, body, below, gauge, foot] = Layout::vertical(rows).areas(area);
    let shown = player.shown();
    let at = player
        .chosen
        .and_then(|chosen| shown.iter().position(|index| *index == chosen));
    let at = at.or(shown.len().checked_sub(1));

    header(player, frame, head);
    let (list, mut state) = records(player, &shown, at, body);
    frame.render_stateful_widget(list, body, &mut state);
    let event = at.map(|at| &player.session.events[shown[at]]);
    frame.render_widget(described(player, event, below), below);
    progress(player, frame, gauge);
    footer(player, shown.len(), frame, foot);
    if player.help {
        help(frame, area);
    }
}

fn header(player: &Player<'_>, frame: &mut Frame<'_>, area: Rect) {
    let session = player.session;
    let width = usize::from(area.width);
    let who = [&session.on_behalf_of, &session.identity, &session.uid];
    let who = who
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(|text| line(text, 60));
    let who = who.collect::<Vec<_>>().join("  ");
    let so_far = session
        .denials
        .iter()
        .filter(|denial| denial.time.0 <= player.at && denial.result == "deny");
    let turns = session
        .turns
        .iter()
        .filter(|turn| turn.start.0 <= player.at)
        .count();
    let denied = so_far.count();
    let mut second = vec![Span::raw(format!(
        "policy {}  model {}  turn {turns} of {}  ",
        line(&session.policy, 24),
        line(&session.models.join(", "), 24),
        session.turns.len(),
    ))];
    let style = if denied > 0 { red() } else { Style::new() };
    second.push(Span::styled(format!("{denied} denied"), style));
    let text = Text::from(vec![
        Line::styled(line(&who, width), Style::new().add_modifier(Modifier::BOLD)),
        Line::from(second),
    ]);
    frame.render_widget(Paragraph::new(text), area);
}

/// The records so far. Only those that can be seen are made.
fn records(
    player: &Player<'_>,
    shown: &[usize],
    at: Option<usize>,
    area: Rect,
) -> (List<'static>, ListState) {
    let height = usize::from(area.height.saturating_sub(2)).max(1);
    let width = usize::from(area.width.saturating_sub(2));
    let end = at.map_or(0, |at| (at + 1).max(height.min(shown.len())));
    let start = end.saturating_sub(height);
    let items = shown[start..end].iter().map(|index| {
        let event = &player.session.events[*index];
        let who = line(&player.session.process_name(event.process), 20);
        let who = if event.process.is_none() {
            String::new()
        } else {
            who
        };
        ListItem::new(Line::from(vec![
            Span::styled(
                format!("{} ", clock(event.time)),
                Style::new().add_modifier(Modifier::DIM),
            ),
            Span::styled(
                format!("{:<9}", event.kind),
                Style::new().fg(colour(event.category)),
            ),
            Span::styled(format!("{:<7}", event.result), verdict(event.result)),
            Span::styled(
                format!("{who:<14} "),
                Style::new().add_modifier(Modifier::DIM),
            ),
            Span::raw(line(&event.text, width)),
        ]))
    });
    let title = format!(" {} records ", shown.len());
    let list = List::new(items.collect::<Vec<_>>())
        .block(Block::new().borders(Borders::ALL).title(title))
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let selected = player.chosen.and(at).map(|at| at - start);
    (list, ListState::default().with_selected(selected))
}

fn described<'a>(player: &Player<'_>, event: Option<&Event>, area: Rect) -> Paragraph<'a> {
    let width = usize::from(area.width).saturating_mul(3);
    let mut text = Vec::new();
    let mut title = " nothing yet ".to_owned();
    if let Some(event) = event {
        title = format!(" record {} ", event.number);
        text.push(Line::from(line(&event.text, width)));
        let who = player.session.process_name(event.process);
        if event.process.is_some() {
            text.push(labelled("process", &line(&who, 60)));
        }
        for (name, value) in &event.details {
            for (place, value) in lines(value, width, 3).enumerate() {
                let name = if place == 0 {
                    line(name, 40)
                } else {
                    String::new()
                };
                text.push(labelled(&name, &value));
            }
        }
    }
    Paragraph::new(text)
        .wrap(Wrap { trim: false })
        .block(Block::new().borders(Borders::ALL).title(title))
}

fn labelled<'a>(name: &str, value: &str) -> Line<'a> {
    Line::from(vec![
        Span::styled(format!("{name} "), Style::new().fg(Color::Cyan)),
        Span::raw(value.to_owned()),
    ])
}

fn progress(player: &Player<'_>, frame: &mut Frame<'_>, area: Rect) {
    let session = player.session;
    let at = elapsed(session.start, crate::session::Time(player.at));
    let label = format!("{at} of {}", elapsed(session.start, session.end));
    let gauge = Gauge::default()
        .ratio(player.part())
        .label(label)
        .gauge_style(Style::new().fg(Color::Blue));
    frame.render_widget(gauge, area);
}

fn footer(player: &Player<'_>, shown: usize, frame: &mut Frame<'_>, area: Rect) {
    let text = if player.typing {
        format!("/{}_", line(&player.search, 60))
    } else {
        let state = if player.is_playing() {
            "plays"
        } else {
            "paused"
        };
        let search = if player.search.is_empty() {
            String::new()
        } else {
            format!("  search {:?}", line(&player.search, 20))
        };
        format!(
            "{state} ×{}  filter {}{search}  {shown} of {}  ? keys  q quit",
            player.speed(),
            player.filter.word(),
            player.all(),
        )
    };
    frame.render_widget(Paragraph::new(text), area);
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let [_, middle, _] = Layout::vertical([
        Constraint::Min(0),
        Constraint::Length(HELP.len() as u16 + 2),
        Constraint::Min(0),
    ])
    .areas(area);
    let [_, middle, _] =
        Layout::horizontal([Constraint::Min(0), Constraint::Max(66), Constraint::Min(0)])
            .areas(middle);
    let text: Vec<Line<'_>> = HELP
        .iter()
        .map(|(key, what)| labelled(&format!(" {key:<12}"), what))
        .collect();
    frame.render_widget(Clear, middle);
    let block = Block::new().borders(Borders::ALL).title(" keys ");
    frame.render_widget(Paragraph::new(text).block(block), middle);
}

fn colour(category: Category) -> Color {
    match category {
        Category::Calls => Color::Magenta,
        Category::Processes => Color::Yellow,
        Category::Network => Color::Green,
        Category::Other => Color::Reset,
    }
}

fn verdict(result: &str) -> Style {
    match result {
        "deny" => red(),
        "shadow" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

fn red() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};

    use super::*;
    use crate::session::Session;
    use crate::testing::{Maker, demo};

    fn screen(player: &Player<'_>, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(player, frame)).unwrap();
        terminal.backend().to_string()
    }

    fn press(player: &mut Player<'_>, codes: &[KeyCode]) {
        for code in codes {
            player.key(KeyEvent::from(*code));
        }
    }

    #[test]
    fn eighty_columns_and_twenty_four_lines_are_enough() {
        let session = Session::build(&Maker::uid(4242), demo());
        let mut player = Player::new(&session);
        let first = screen(&player, 80, 24);
        assert!(first.contains("user:alice@example.org"), "{first}");
        assert!(first.contains("1 records"), "{first}");
        press(&mut player, &[KeyCode::End, KeyCode::Char('f')]);
        let denied = screen(&player, 80, 24);
        for text in [
            "3 denied",
            "203.0.113.66:443",
            "because keys belong to people",
            "filter denied",
            "2.3 s of 2.3 s",
        ] {
            assert!(denied.contains(text), "{text}: {denied}");
        }
        press(&mut player, &[KeyCode::Char('?')]);
        assert!(screen(&player, 80, 24).contains("faster, slower"));
    }

    #[test]
    fn any_size_is_drawn_and_the_latest_is_in_view() {
        let session = Session::build(&Maker::uid(4242), demo());
        let mut player = Player::new(&session);
        press(&mut player, &[KeyCode::End]);
        assert!(screen(&player, 120, 40).contains("exit 0"));
        for (width, height) in [(1, 1), (5, 3), (20, 8), (79, 19), (300, 100)] {
            screen(&player, width, height);
        }
        press(&mut player, &[KeyCode::Up; 25]);
        let back = screen(&player, 80, 24);
        assert!(back.contains("uname -sr"), "{back}");
    }

    #[test]
    fn hostile_text_is_escaped() {
        let mut maker = Maker::new(7, "sh -c '\x1b[2J\u{202e}'");
        maker.exit(5, 7, 0);
        let session = Session::build(&Maker::uid(7), maker.records());
        let player = Player::new(&session);
        let shown = screen(&player, 100, 30);
        assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown}");
        assert!(shown.contains(r"\u{1b}[2J"), "{shown}");
    }
}
