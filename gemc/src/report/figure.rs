//! Numbers as people read them. NaN and infinity have words, so that a table can say that a figure is broken.

/// Four significant digits, without trailing zeros; very large and very small ones as `1.23e-7`.
pub(super) fn figure(value: f64) -> String {
    if value.is_nan() {
        return "not a number".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞" } else { "−∞" }.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    let text = if (1e-4..1e6).contains(&size) {
        let decimals = (3 - size.log10().floor() as i32).clamp(0, 8) as usize;
        stripped(&format!("{value:.decimals$}"))
    } else {
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", stripped(digits))
    };
    text.replace('-', "−").replace("e−", "e-")
}

/// A figure, or a dash.
pub(super) fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), figure)
}

/// A share in percent.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", figure(100.0 * share))
}

/// Without zeros at the end of its decimals.
fn stripped(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_every_size() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.5, "0.5"),
            (0.012_346, "0.01235"),
            (3.25, "3.25"),
            (123_456.0, "123456"),
            (-1.5, "−1.5"),
            (1e-7, "1e-7"),
            (1.236e9, "1.24e9"),
            (f64::NAN, "not a number"),
            (f64::INFINITY, "∞"),
            (f64::NEG_INFINITY, "−∞"),
        ] {
            assert_eq!(figure(value), want);
        }
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(optional(None), "–");
    }
}
