//! A session, played in time on a terminal.

mod state;
mod view;

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Input, KeyEventKind};

use crate::session::Session;
use state::{Player, Then};

/// How often the screen is drawn while it plays.
const FRAME: Duration = Duration::from_millis(33);

/// Plays the session until the person quits. Keys: space pauses, left and right seek, `+` and `-` set the speed,
/// up and down move, `/` searches, `f` filters, `?` shows them, `q` quits. The terminal is given back as it was,
/// also on an error or a panic.
///
/// # Errors
///
/// Standard output is no terminal, or reading or drawing failed.
pub fn run(session: &Session) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = play(session, &mut terminal);
    ratatui::restore();
    result
}

fn play(session: &Session, terminal: &mut ratatui::DefaultTerminal) -> io::Result<()> {
    let mut player = Player::new(session);
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        player.advance(now.duration_since(last));
        last = now;
        terminal.draw(|frame| view::draw(&player, frame))?;
        // A paused player waits for a key as long as it takes.
        let wait = if player.is_playing() {
            FRAME
        } else {
            Duration::from_secs(3600)
        };
        if !event::poll(wait)? {
            continue;
        }
        if !player.is_playing() {
            last = Instant::now();
        }
        if let Input::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && player.key(key) == Then::Quit
        {
            return Ok(());
        }
    }
}
