//! Pictures of the screen, with their styles, on a machine that never changes.

use crate::tui::fixture::{empty, feed, press, shop, themed};
use crate::tui::glyphs::{ASCII, UNICODE};
use crate::tui::model::Model;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Style;

fn render(model: &Model) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(model.size.width, model.size.height)).unwrap();
    terminal.draw(|frame| super::draw(frame, model)).unwrap();
    terminal.backend().buffer().clone()
}

/// The text, line by line.
fn text(buffer: &Buffer) -> String {
    let lines = buffer.content.chunks(usize::from(buffer.area.width)).map(|row| {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// The text, then the styles of each line as runs: column, foreground, background, modifiers.
fn picture(model: &Model) -> String {
    let buffer = render(model);
    assert_eq!(buffer, render(model), "drawing twice gives the same");
    let mut out = text(&buffer);
    out.push_str("-- styles\n");
    for (y, row) in buffer.content.chunks(usize::from(buffer.area.width)).enumerate() {
        let mut runs = Vec::new();
        let mut last: Option<Style> = None;
        for (x, cell) in row.iter().enumerate() {
            let style = cell.style();
            if last != Some(style) {
                let mut run = format!("{x}:{}", cell.fg);
                if cell.bg != ratatui::style::Color::Reset {
                    run += &format!("/{}", cell.bg);
                }
                if !cell.modifier.is_empty() {
                    run += &format!("+{:?}", cell.modifier);
                }
                runs.push(run);
                last = Some(style);
            }
        }
        out.push_str(&format!("{y:>2} {}\n", runs.join(" ")));
    }
    out
}

#[test]
fn side_by_side() {
    insta::assert_snapshot!("shop_120x40", picture(&shop(120, 40)));
}

#[test]
fn stacked() {
    insta::assert_snapshot!("shop_80x24", picture(&shop(80, 24)));
}

#[test]
fn on_a_large_screen() {
    insta::assert_snapshot!("shop_200x60", picture(&shop(200, 60)));
}

#[test]
fn on_a_tiny_screen() {
    insta::assert_snapshot!("shop_50x14", text(&render(&shop(50, 14))));
}

#[test]
fn measurements_as_curves() {
    let mut model = shop(120, 40);
    press(&mut model, "enter ]");
    insta::assert_snapshot!("stats_120x40", picture(&model));
}

#[test]
fn an_empty_machine_teaches() {
    insta::assert_snapshot!("empty_120x40", text(&render(&empty(120, 40, "dark", &UNICODE))));
}

#[test]
fn plain_ascii_without_colour() {
    let model = themed(100, 30, "mono", &ASCII);
    let buffer = render(&model);
    assert!(text(&buffer).is_ascii() || text(&buffer).chars().all(|c| c.is_ascii() || matches!(c, '→' | '·')));
    insta::assert_snapshot!("mono_100x30", picture(&model));
}

#[test]
fn a_question_names_what_goes() {
    let mut model = shop(100, 30);
    press(&mut model, "d");
    insta::assert_snapshot!("remove_100x30", text(&render(&model)));
}

#[test]
fn the_run_form() {
    let mut model = shop(100, 30);
    press(&mut model, "n N g enter");
    insta::assert_snapshot!("run_form_100x30", text(&render(&model)));
}

#[test]
fn help_lists_what_counts_here_first() {
    let mut model = shop(100, 30);
    press(&mut model, "?");
    insta::assert_snapshot!("help_100x30", text(&render(&model)));
}

#[test]
fn messages_stand_in_the_corner() {
    let mut model = shop(100, 30);
    press(&mut model, "S");
    insta::assert_snapshot!("toast_100x30", text(&render(&model)));
}

#[test]
fn no_size_breaks_a_frame_or_panics() {
    for (columns, rows) in
        [(1, 1), (9, 2), (10, 3), (20, 5), (59, 15), (60, 16), (99, 17), (100, 16), (100, 9), (300, 90)]
    {
        let mut model = shop(columns, rows);
        render(&model);
        for keys in [
            "enter", "]", "]", "esc", "2", "3", "4", "5", "1", "d", "esc", "n", "esc", "?", "esc", ":", "esc", "+", "+",
        ] {
            press(&mut model, keys);
            render(&model);
        }
    }
}

#[test]
fn hostile_names_stay_in_their_cells() {
    use crate::tui::event::{Event, Listing};
    let mut model = shop(120, 40);
    let mut found = crate::tui::fixture::containers();
    for container in &mut found {
        container.names =
            Some(vec!["/\u{1b}[2J\u{202e}日本語日本語日本語日本語日本語日本語\u{200d}👩‍🚀\r\nx".to_owned()]);
        container.image = Some("a\tb\u{7}".repeat(30));
    }
    feed(&mut model, Event::Listed(Listing::Containers(found)));
    let buffer = render(&model);
    assert!(buffer.content.iter().all(|cell| !cell.symbol().chars().any(crate::tui::text::is_unsafe)));
    let right = model.layout.lists.right() - 1;
    for y in model.layout.panes[0].rows.top()..model.layout.panes[0].rows.bottom() {
        let symbol = buffer[(right, y)].symbol();
        assert!(matches!(symbol, "│" | "┃"), "the frame is whole at line {y}: {symbol:?}");
    }
}
