//! What is played, and what keys do to it. Knows neither a clock nor a terminal.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::session::{Category, Event, Session};

/// Speeds, in times of the clock.
const SPEEDS: [f64; 11] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
];
const NORMAL: usize = 3;

/// A step of left and right is this part of the session, and at least this long.
const STEPS: i64 = 40;
const MIN_STEP_NS: i64 = 100_000_000;

/// A pause of the session that is longer is passed over in this time.
const MAX_WAIT_NS: i64 = 2_000_000_000;

/// The longest text to search for.
const MAX_SEARCH: usize = 100;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    All,
    Denied,
    Calls,
    Processes,
    Network,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Go,
    Quit,
}

/// A session that is played.
pub(super) struct Player<'a> {
    pub(super) session: &'a Session,
    /// Where it is: nanoseconds since 1970.
    pub(super) at: i64,
    playing: bool,
    speed: usize,
    pub(super) filter: Filter,
    /// In lower case.
    pub(super) search: String,
    /// Whether keys are letters of `search`.
    pub(super) typing: bool,
    pub(super) help: bool,
    /// What the person looks at, instead of the latest: an index of an event.
    pub(super) chosen: Option<usize>,
    /// Each event in lower case, to search in.
    texts: Vec<String>,
}

impl<'a> Player<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        let text = |event: &Event| {
            let name = session.process_name(event.process);
            format!("{} {} {} {name}", event.kind, event.result, event.text).to_lowercase()
        };
        Self {
            session,
            at: session.start.0,
            playing: true,
            speed: NORMAL,
            filter: Filter::All,
            search: String::new(),
            typing: false,
            help: false,
            chosen: None,
            texts: session.events.iter().map(text).collect(),
        }
    }

    /// Whether time goes on.
    pub(super) fn is_playing(&self) -> bool {
        self.playing && self.at < self.session.end.0
    }

    /// Times of the clock.
    pub(super) fn speed(&self) -> f64 {
        SPEEDS[self.speed]
    }

    /// How much of it was played, from 0 to 1.
    pub(super) fn part(&self) -> f64 {
        let (start, end) = (self.session.start.0, self.session.end.0);
        if end <= start {
            return 1.0;
        }
        ((self.at - start) as f64 / (end - start) as f64).clamp(0.0, 1.0)
    }

    /// Time goes on by that much of the clock.
    pub(super) fn advance(&mut self, clock: Duration) {
        if !self.is_playing() {
            return;
        }
        let by = (clock.as_nanos() as f64 * self.speed()) as i64;
        let mut to = self.at.saturating_add(by);
        // Nobody watches an agent wait for an hour.
        let events = &self.session.events;
        let next = events.partition_point(|event| event.time.0 <= self.at);
        let next = events
            .get(next)
            .map_or(self.session.end.0, |event| event.time.0);
        if next - self.at > MAX_WAIT_NS.saturating_mul(self.speed().max(1.0) as i64) {
            to = to.max(next - MAX_WAIT_NS);
        }
        self.at = to.min(self.session.end.0);
    }

    /// The events so far that are shown, the earliest first.
    pub(super) fn shown(&self) -> Vec<usize> {
        let so_far = self
            .session
            .events
            .partition_point(|event| event.time.0 <= self.at);
        (0..so_far).filter(|index| self.fits(*index)).collect()
    }

    /// How many events fit, of the whole session.
    pub(super) fn all(&self) -> usize {
        (0..self.session.events.len())
            .filter(|index| self.fits(*index))
            .count()
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> Then {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') {
                Then::Quit
            } else {
                Then::Go
            };
        }
        if self.typing {
            self.type_key(key.code);
            return Then::Go;
        }
        if self.help {
            self.help = false;
            return Then::Go;
        }
        match key.code {
            KeyCode::Char('q') => return Then::Quit,
            KeyCode::Char(' ') => self.toggle(),
            KeyCode::Left => self.seek(-1),
            KeyCode::Right => self.seek(1),
            KeyCode::Home => self.jump(self.session.start.0),
            KeyCode::End => self.jump(self.session.end.0),
            KeyCode::Up | KeyCode::Char('k') => self.choose(-1),
            KeyCode::Down | KeyCode::Char('j') => self.choose(1),
            KeyCode::Char('n') => self.next(),
            KeyCode::Char('+' | '=') => self.speed = (self.speed + 1).min(SPEEDS.len() - 1),
            KeyCode::Char('-') => self.speed = self.speed.saturating_sub(1),
            KeyCode::Char('f') => self.filter(),
            KeyCode::Char('/') => {
                self.typing = true;
                self.search.clear();
                self.chosen = None;
            }
            KeyCode::Char('?') => self.help = true,
            KeyCode::Esc => {
                self.search.clear();
                self.chosen = None;
            }
            _ => {}
        }
        Then::Go
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.search.clear();
            }
            KeyCode::Backspace => drop(self.search.pop()),
            KeyCode::Char(character) if self.search.chars().count() < MAX_SEARCH => {
                self.search.extend(character.to_lowercase());
            }
            _ => {}
        }
    }

    fn toggle(&mut self) {
        if self.at >= self.session.end.0 {
            self.at = self.session.start.0;
            self.playing = true;
        } else {
            self.playing = !self.playing;
        }
        self.chosen = None;
    }

    fn seek(&mut self, steps: i64) {
        let length = self.session.end.0.saturating_sub(self.session.start.0);
        let step = (length / STEPS).max(MIN_STEP_NS);
        self.jump(self.at.saturating_add(steps * step));
    }

    fn jump(&mut self, to: i64) {
        self.at = to.clamp(self.session.start.0, self.session.end.0);
        self.chosen = None;
    }

    /// Goes to the next event that is shown, and stops there.
    fn next(&mut self) {
        let events = self.session.events.iter().enumerate();
        let next = events
            .filter(|(index, event)| event.time.0 > self.at && self.fits(*index))
            .map(|(_, event)| event.time.0)
            .next();
        if let Some(next) = next {
            self.jump(next);
        }
        self.playing = false;
    }

    /// Moves among the events that are shown; behind the last is the latest again.
    fn choose(&mut self, by: isize) {
        let shown = self.shown();
        let Some(last) = shown.len().checked_sub(1) else {
            return;
        };
        let at = self
            .chosen
            .and_then(|chosen| shown.iter().position(|index| *index == chosen));
        let to = at.unwrap_or(last).saturating_add_signed(by);
        self.chosen = (to <= last).then(|| shown[to]);
        self.playing = false;
    }

    fn filter(&mut self) {
        self.filter = match self.filter {
            Filter::All => Filter::Denied,
            Filter::Denied => Filter::Calls,
            Filter::Calls => Filter::Processes,
            Filter::Processes => Filter::Network,
            Filter::Network => Filter::All,
        };
        self.chosen = None;
    }

    fn fits(&self, index: usize) -> bool {
        let event = &self.session.events[index];
        let fits = match self.filter {
            Filter::All => true,
            Filter::Denied => matches!(event.result, "deny" | "shadow"),
            Filter::Calls => event.category == Category::Calls,
            Filter::Processes => event.category == Category::Processes,
            Filter::Network => event.category == Category::Network,
        };
        fits && (self.search.is_empty() || self.texts[index].contains(&self.search))
    }
}

impl Filter {
    /// For a person.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Denied => "denied",
            Self::Calls => "calls",
            Self::Processes => "processes",
            Self::Network => "network",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Maker, demo};

    fn session() -> Session {
        Session::build(&Maker::uid(4242), demo())
    }

    fn press(player: &mut Player<'_>, keys: &str) {
        for key in keys.chars() {
            let code = match key {
                '<' => KeyCode::Left,
                '>' => KeyCode::Right,
                '^' => KeyCode::Up,
                'v' => KeyCode::Down,
                '$' => KeyCode::End,
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                other => KeyCode::Char(other),
            };
            assert_eq!(player.key(KeyEvent::from(code)), Then::Go);
        }
    }

    #[test]
    fn it_plays_in_time_at_the_speed_that_is_set() {
        let session = session();
        let mut player = Player::new(&session);
        player.advance(Duration::from_millis(100));
        assert_eq!(player.at - session.start.0, 100_000_000);
        press(&mut player, "+");
        player.advance(Duration::from_millis(100));
        assert_eq!(player.at - session.start.0, 300_000_000);
        press(&mut player, " ");
        player.advance(Duration::from_secs(9));
        assert_eq!(player.at - session.start.0, 300_000_000);
        press(&mut player, " -------------");
        assert!((player.speed() - 0.1).abs() < 1e-9);
        press(&mut player, "$");
        assert!(!player.is_playing());
        assert_eq!(player.shown().len(), session.events.len());
        press(&mut player, " ");
        assert_eq!(player.at, session.start.0);
    }

    #[test]
    fn it_seeks_within_the_session() {
        let session = session();
        let mut player = Player::new(&session);
        press(&mut player, ">>");
        assert_eq!(player.at - session.start.0, 200_000_000);
        press(&mut player, "<<<<<");
        assert_eq!(player.at, session.start.0);
        press(&mut player, "nn");
        assert_eq!(player.at - session.start.0, 60_000_000);
    }

    #[test]
    fn it_filters_and_searches() {
        let session = session();
        let mut player = Player::new(&session);
        press(&mut player, "$f");
        assert_eq!((player.filter, player.shown().len()), (Filter::Denied, 3));
        press(&mut player, "ff");
        assert!(
            player
                .shown()
                .iter()
                .all(|index| session.events[*index].category == Category::Processes)
        );
        press(&mut player, "ff/id_ED25519\n");
        assert_eq!(player.filter, Filter::All);
        assert!(!player.shown().is_empty());
        // `q` is a letter while it is typed.
        press(&mut player, "/q");
        assert_eq!(player.search, "q");
        press(&mut player, "\x1b");
        assert_eq!(player.shown().len(), session.events.len());
        assert_eq!(player.key(KeyEvent::from(KeyCode::Char('q'))), Then::Quit);
    }

    #[test]
    fn a_person_looks_back_without_moving_time() {
        let session = session();
        let mut player = Player::new(&session);
        press(&mut player, "$^^");
        let last = session.events.len() - 1;
        assert_eq!(player.chosen, Some(last - 2));
        press(&mut player, "vvv");
        assert_eq!(player.chosen, None);
        assert_eq!(player.at, session.end.0);
    }

    #[test]
    fn a_long_pause_is_passed_over() {
        let mut maker = Maker::new(9, "agent");
        maker.exit(3_600_000, 9, 0);
        let session = Session::build(&Maker::uid(9), maker.records());
        let mut player = Player::new(&session);
        player.advance(Duration::from_millis(33));
        assert_eq!(session.end.0 - player.at, MAX_WAIT_NS);
    }
}
