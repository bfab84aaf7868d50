//! Curves: one line of small bars for lists, areas of dots for the statistics.

use super::paint::Paint;
use crate::tui::theme::Role;
use ratatui::layout::Rect;

/// Values as bars of eight heights, newest right.
pub fn spark(values: impl ExactSizeIterator<Item = f64>, columns: usize, max: f64, heights: &[&str; 8]) -> String {
    let mut out = " ".repeat(columns.saturating_sub(values.len()));
    let skip = values.len().saturating_sub(columns);
    for value in values.skip(skip) {
        let level = if max > 0.0 { (value / max * 7.0).round().clamp(0.0, 7.0) as usize } else { 0 };
        out.push_str(heights[level]);
    }
    out
}

/// A ceiling a little above the largest value, in steps people read easily.
pub fn ceiling(max: f64, least: f64) -> f64 {
    let max = max.max(least);
    let power = 10f64.powf(max.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0].into_iter().map(|step| step * power).find(|c| *c >= max).unwrap_or(max)
}

/// Which way an area grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grows {
    Up,
    Down,
}

/// Fills `area` with the curve of `values` (newest right), two values a column.
pub fn area(paint: &mut Paint<'_>, area: Rect, values: &[f64], max: f64, grows: Grows, role: Role) {
    let style = paint.style(role);
    let slots = usize::from(area.width) * 2;
    let dots = usize::from(area.height) * 4;
    let values = &values[values.len().saturating_sub(slots)..];
    let offset = slots - values.len();
    let height = |slot: usize| -> usize {
        match slot.checked_sub(offset).and_then(|at| values.get(at)) {
            // A value above nothing shows at least one dot; so does a curve's ground line where values are known.
            Some(value) if max > 0.0 => ((value / max * dots as f64).round() as usize).max(1).min(dots),
            Some(_) => 1,
            None => 0,
        }
    };
    for column in 0..area.width {
        let (left, right) = (height(usize::from(column) * 2), height(usize::from(column) * 2 + 1));
        for row in 0..area.height {
            let below = match grows {
                Grows::Up => usize::from(area.height - 1 - row) * 4,
                Grows::Down => usize::from(row) * 4,
            };
            let (l, r) = (left.saturating_sub(below).min(4), right.saturating_sub(below).min(4));
            if l + r == 0 {
                continue;
            }
            let cell = if paint.glyphs().braille {
                braille(l, r, grows)
            } else if l + r >= 4 {
                '#'
            } else {
                '.'
            };
            paint.text(area.x + column, area.y + row, area.x + column + 1, cell.encode_utf8(&mut [0; 4]), style);
        }
    }
}

fn braille(left: usize, right: usize, grows: Grows) -> char {
    const LEFT: [u32; 4] = [0x01, 0x02, 0x04, 0x40];
    const RIGHT: [u32; 4] = [0x08, 0x10, 0x20, 0x80];
    let bits = |column: [u32; 4], count: usize| -> u32 {
        match grows {
            Grows::Down => column.iter().take(count).sum(),
            Grows::Up => column.iter().rev().take(count).sum(),
        }
    };
    char::from_u32(0x2800 + bits(LEFT, left) + bits(RIGHT, right)).unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::glyphs::UNICODE;

    #[test]
    fn sparks_end_at_the_newest_value() {
        assert_eq!(spark([0.0, 50.0, 100.0].into_iter(), 5, 100.0, &UNICODE.heights), "  ▁▅█");
        assert_eq!(spark([9.0, 0.0, 100.0].into_iter(), 2, 100.0, &UNICODE.heights), "▁█");
    }

    #[test]
    fn dots_fill_from_the_ground() {
        assert_eq!(braille(4, 4, Grows::Up), '⣿');
        assert_eq!(braille(1, 0, Grows::Up), '⡀');
        assert_eq!(braille(1, 0, Grows::Down), '⠁');
    }

    #[test]
    fn ceilings_are_round() {
        assert_eq!(ceiling(120.0, 100.0), 150.0);
        assert_eq!(ceiling(3.0, 100.0), 100.0);
        assert_eq!(ceiling(0.0, 1024.0), 1500.0);
    }
}
