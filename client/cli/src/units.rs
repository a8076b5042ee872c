//! How sizes, times and names are shown, and how modification times are stored.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A size for people: `1.5 MiB`; `exact`: `1572864`.
pub(crate) fn size(bytes: u64, exact: bool) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if exact {
        return bytes.to_string();
    }
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // Rounding must not show 1024.0 of a unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Reads a size: a number of bytes, or one with a unit (`10M`, `1.5GiB`); units are powers of 1,024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let power = match unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit) {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        _ => return Err("write a size such as 10M or 1.5GiB".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "write a size such as 10M or 1.5GiB".to_owned())?;
    let bytes = number * f64::powi(1024.0, power);
    if bytes.is_finite() && bytes < 9e18 { Ok(bytes as u64) } else { Err("that is too large".to_owned()) }
}

/// Reads a stretch of time: numbers with units `w d h m s` (`7d`, `1h30m`); a bare number is seconds.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time such as 7d, 12h or 1h30m".to_owned();
    let mut seconds = 0u64;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            'w' => 7 * 86_400,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        seconds = count.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
    }
    if !number.is_empty() {
        let bare = text.len() == number.len();
        let count: u64 = number.parse().map_err(|_| wrong())?;
        seconds = if bare { count } else { return Err(wrong()) };
    } else if text.is_empty() {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

/// A moment as RFC 3339 in UTC, cut to seconds.
pub(crate) fn moment(wall_ms: u64) -> String {
    let seconds = i64::try_from(wall_ms / 1000).unwrap_or(i64::MAX);
    let shown = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|moment| moment.format(&Rfc3339).ok());
    shown.unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// A name on one line of a table: control characters, tabs, line ends and backslashes are escaped, everything else is itself.
pub(crate) fn printable(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            // Also the ones that turn the direction of writing: a name must not look like another.
            control if control.is_control() || matches!(control, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(control));
            }
            other => shown.push(other),
        }
    }
    shown
}

/// Name of the user metadata that holds a file's modification time: seconds since 1970, nine decimals. rclone writes and
/// reads the same.
pub(crate) const MTIME: &str = "mtime";

/// A modification time as [`MTIME`] keeps it; `None` for times before 1970.
pub(crate) fn mtime_text(modified: SystemTime) -> Option<String> {
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}.{:09}", since.as_secs(), since.subsec_nanos()))
}

/// Reverse of [`mtime_text`]; up to nine decimals, `None` for anything else.
pub(crate) fn mtime_of(text: &str) -> Option<SystemTime> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let nanos: u32 = format!("{decimals:0<9}").parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds.parse().ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_iec_units() {
        let shown = |bytes| size(bytes, false);
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(1024), "1.0 KiB");
        assert_eq!(shown(1536 * 1024), "1.5 MiB");
        assert_eq!(shown((1 << 20) - 1), "1.0 MiB");
        assert_eq!(shown(u64::MAX), "16.0 EiB");
        assert_eq!(size(1536, true), "1536");
    }

    #[test]
    fn sizes_and_times_are_read_with_their_units() {
        assert_eq!(parse_size("1536"), Ok(1536));
        assert_eq!(
            (parse_size("10M"), parse_size("1.5 KiB"), parse_size("2gb")),
            (Ok(10 << 20), Ok(1536), Ok(2 << 30))
        );
        for bad in ["", "M", "10X", "1.2.3", "-1", "1e9", "9999999P"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        let seconds = |text| parse_age(text).map(|age| age.as_secs());
        assert_eq!(
            (seconds("90"), seconds("7d"), seconds("1h30m"), seconds("2w")),
            (Ok(90), Ok(604_800), Ok(5400), Ok(1_209_600))
        );
        for bad in ["", "d", "1h30", "1x", "-1d", "99999999999999999999s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1_795_391_999_999), "2026-11-22T23:59:59Z");
        assert_eq!(moment(u64::MAX), "18446744073709551 s after 1970");
    }

    #[test]
    fn a_name_stays_on_one_line_and_cannot_pose_as_another() {
        assert_eq!(printable("a\nb\tc\\d\u{1b}[31m"), "a\\nb\\tc\\\\d\\u{1b}[31m");
        assert_eq!(printable("x\u{202e}gpj.exe"), "x\\u{202e}gpj.exe");
        assert_eq!(printable("grüße 日本"), "grüße 日本");
    }

    #[test]
    fn modification_times_survive_to_the_nanosecond() {
        let modified = UNIX_EPOCH + Duration::new(1_795_391_999, 7);
        assert_eq!(mtime_text(modified).unwrap(), "1795391999.000000007");
        assert_eq!(mtime_of("1795391999.000000007"), Some(modified));
        assert_eq!(mtime_of("5"), Some(UNIX_EPOCH + Duration::from_secs(5)));
        assert_eq!(mtime_of("5.5"), Some(UNIX_EPOCH + Duration::from_millis(5500)));
        for bad in ["", ".", ".5", "-1", "1e9", "5.0000000001", "x", "5.x", "99999999999999999999"] {
            assert_eq!(mtime_of(bad), None, "{bad}");
        }
    }
}
