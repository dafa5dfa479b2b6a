//! What a device is made of, as its target file says: groups of cores, and memory.

use serde::{Deserialize, Serialize};

/// Equal cores of a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cores {
    /// What they are, `Cortex-A72` for instance.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Their clock in GHz, under load.
    pub ghz: f64,
    /// Bytes of the cache that each has alone, next to the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l2: Option<u64>,
    /// Whether programs use them: slow cores beside fast ones cost more than they give.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub used: bool,
}

const fn yes() -> bool {
    true
}

impl Cores {
    /// Whether groups are there and have figures in range.
    ///
    /// # Errors
    /// In words, with what is allowed.
    pub(super) fn check(groups: &[Self]) -> Result<(), String> {
        for group in groups {
            let name = &group.name;
            if !(1..=1024).contains(&group.count) {
                let count = group.count;
                return Err(format!(
                    "cores: {name}: count is {count}, allowed are 1 to 1024"
                ));
            }
            if !(group.ghz > 0.0 && group.ghz < 100.0) {
                let ghz = group.ghz;
                return Err(format!(
                    "cores: {name}: ghz is {ghz}, allowed are numbers above 0 and below 100"
                ));
            }
            if group.l2 == Some(0) {
                return Err(format!("cores: {name}: l2 is 0, allowed are bytes from 1"));
            }
        }
        if !groups.is_empty() && !groups.iter().any(|group| group.used) {
            return Err("cores: no group is used".to_owned());
        }
        Ok(())
    }
}

/// Memory of a device, in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// All of it; the system and other programs want some.
    pub ram: u64,
    /// The last cache, which cores share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<u64>,
}

impl Memory {
    /// Whether sizes are in range.
    ///
    /// # Errors
    /// In words, with what is allowed.
    pub(super) fn check(&self) -> Result<(), String> {
        match (self.ram, self.cache) {
            (0, _) => Err("memory.ram is 0, allowed are bytes from 1".to_owned()),
            (ram, Some(cache)) if cache == 0 || cache > ram => Err(format!(
                "memory.cache is {cache}, allowed are bytes from 1 to {ram}"
            )),
            _ => Ok(()),
        }
    }
}
