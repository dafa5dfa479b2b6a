//! What the system tells of the machine: its name, clocks and temperatures. Where it tells nothing, nothing is known.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Clock and temperature of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Moment {
    /// GHz of the core that is clocked highest now.
    pub ghz: Option<f64>,
    /// Degrees Celsius of the warmest place.
    pub celsius: Option<f64>,
}

/// Files of the system below a root, which is `/` but in tests.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    root: PathBuf,
}

impl Machine {
    pub(super) fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The board's or processor's name.
    pub(super) fn name(&self) -> Option<String> {
        let board = self.read("sys/firmware/devicetree/base/model");
        let board = board.map(|text| text.trim_matches(['\0', '\n', ' ']).to_owned());
        board.filter(|name| !name.is_empty()).or_else(|| {
            let about = self.read("proc/cpuinfo")?;
            let named = about
                .lines()
                .find_map(|line| line.strip_prefix("model name"));
            Some(
                named?
                    .trim_start_matches([' ', '\t', ':'])
                    .trim()
                    .to_owned(),
            )
        })
    }

    pub(super) fn now(&self) -> Moment {
        let largest = |numbers: Vec<f64>| numbers.into_iter().reduce(f64::max);
        let clocks = self.numbers("sys/devices/system/cpu", "cpu", "cpufreq/scaling_cur_freq");
        let warmth = self.numbers("sys/class/thermal", "thermal_zone", "temp");
        Moment {
            ghz: largest(clocks).map(|kilohertz| kilohertz / 1e6),
            celsius: largest(warmth).map(|thousandths| thousandths / 1e3),
        }
    }

    /// The numbers in files of this name, in folders whose names begin so.
    fn numbers(&self, folder: &str, prefix: &str, file: &str) -> Vec<f64> {
        let Ok(found) = fs::read_dir(self.root.join(folder)) else {
            return Vec::new();
        };
        let named = found.flatten().filter(|item| {
            let name = item.file_name();
            name.to_str().is_some_and(|name| name.starts_with(prefix))
        });
        let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse().ok();
        named
            .filter_map(|item| number(item.path().join(file)))
            .collect()
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.root.join(file)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_s_files_are_read_and_missing_ones_are_not_missed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let machine = Machine::below(dir.path());
        assert_eq!((machine.name(), machine.now()), (None, Moment::default()));
        let tell = |file: &str, text: &str| {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("space");
            fs::write(path, text).expect("space");
        };
        tell("proc/cpuinfo", "processor\t: 0\nmodel name\t: Fast 9\n");
        assert_eq!(machine.name().as_deref(), Some("Fast 9"));
        tell(
            "sys/firmware/devicetree/base/model",
            "Raspberry Pi 4 Model B\0",
        );
        assert_eq!(machine.name().as_deref(), Some("Raspberry Pi 4 Model B"));
        tell(
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
            "600000\n",
        );
        tell(
            "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq",
            "1500000\n",
        );
        tell("sys/devices/system/cpu/cpufreq/policy0", "x");
        tell("sys/class/thermal/thermal_zone0/temp", "48312\n");
        tell("sys/class/thermal/thermal_zone1/temp", "none\n");
        let now = machine.now();
        assert_eq!((now.ghz, now.celsius), (Some(1.5), Some(48.312)));
    }
}
