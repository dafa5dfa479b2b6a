//! A kernel's view of memory in one step: its regions resolved to addresses, every access checked.

use super::code::{Access, ParamInfo};
use super::fault::Fault;
use super::race::Races;
use crate::ir::Space;
use gem_runtime::abi::{ARG_UNIT, Ctx};

/// Regions of one kernel call, and who runs.
pub(super) struct Memory<'a> {
    ctx: &'a Ctx,
    params: &'a [ParamInfo],
    regions: Vec<Region>,
    races: Option<&'a Races>,
    /// The item of the phase, for which nested calls run too.
    pub(super) owner: u32,
}

/// A region of one call: where its bytes begin, and how many there are.
#[derive(Clone, Copy)]
struct Region {
    /// First byte; unused for kv.
    base: *mut u8,
    /// For kv: bytes from a slot's pointer.
    kv: Option<isize>,
    /// Elements.
    len: i64,
    /// Bytes of an element.
    elem: usize,
    /// Whether other items see it.
    shared: bool,
}

impl<'a> Memory<'a> {
    /// Resolves the regions of a call.
    ///
    /// # Safety
    /// `args` are verified arguments of these parameters, and `ctx` is as [`gem_runtime::abi::Executable::run`] asks;
    /// `local` has the kernel's local bytes and outlives this.
    pub(super) unsafe fn new(
        ctx: &'a Ctx,
        params: &'a [ParamInfo],
        args: &[Option<u32>],
        local: *mut u8,
        races: Option<&'a Races>,
    ) -> Self {
        let region = |(param, arg): (&ParamInfo, &Option<u32>)| {
            let ParamInfo::Region {
                space,
                elem,
                len,
                local: at,
                ..
            } = param
            else {
                return Region::none();
            };
            let arg = arg.unwrap_or(0) as usize;
            let elements = len.per_context * i64::from(ctx.context) + len.fixed;
            let mut region = Region {
                base: std::ptr::null_mut(),
                kv: None,
                len: elements,
                elem: elem.bytes() as usize,
                shared: true,
            };
            // SAFETY: verified arguments and lengths keep each region within its buffer, whose size `ctx` vouches for.
            unsafe {
                match space {
                    Space::Weights => {
                        region.base = ctx.weights.add(arg * ARG_UNIT).cast_mut();
                        region.shared = false;
                    }
                    Space::Arena => region.base = ctx.arena.add(arg * ARG_UNIT),
                    Space::Kv if len.per_context == 0 => {
                        region.kv = Some(-((arg * ARG_UNIT) as isize));
                    }
                    Space::Kv => region.kv = Some((arg * ctx.context as usize) as isize),
                    Space::Rows => {
                        region.base = ctx.rows.cast::<u8>().cast_mut();
                        region.len = elements.min(4 * i64::from(ctx.n_rows));
                        region.shared = false;
                    }
                    Space::Outputs => {
                        region.base = ctx.outputs.cast::<u8>().cast_mut();
                        region.len = elements.min(ctx.n_outputs.into());
                        region.shared = false;
                    }
                    Space::Local => {
                        region.base = local.add(*at);
                        region.shared = false;
                    }
                }
            }
            region
        };
        Self {
            ctx,
            params,
            regions: params.iter().zip(args).map(region).collect(),
            races,
            owner: 0,
        }
    }

    /// Address of an access, which lies in its region.
    #[inline(always)]
    fn address(&self, access: Access, scalars: &[u32], write: bool) -> Result<*mut u8, Fault> {
        let region = self.regions[usize::from(access.region)];
        let index = scalars[access.index as usize] as i32;
        let count = usize::from(access.bytes).div_ceil(region.elem) as i64;
        if index < 0 || i64::from(index) + count > region.len {
            return Err(self.out_of_range(access, index, count));
        }
        let base = match region.kv {
            None => region.base,
            Some(start) => {
                let slot = scalars[access.slot as usize];
                if slot >= self.ctx.n_slots {
                    return Err(Fault::Slot {
                        slot: slot as i32,
                        slots: self.ctx.n_slots,
                    });
                }
                // SAFETY: the slot exists, and verified kv regions lie within a slot's memory.
                unsafe { (*self.ctx.kv.add(slot as usize)).offset(start) }
            }
        };
        // SAFETY: the index was just held against the length of the region, which lies in its buffer.
        let address = unsafe { base.add(index as usize * region.elem) };
        if let (Some(races), true) = (self.races, region.shared) {
            self.check_race(races, access, address as usize, write)?;
        }
        Ok(address)
    }

    #[cold]
    fn check_race(
        &self,
        races: &Races,
        access: Access,
        address: usize,
        write: bool,
    ) -> Result<(), Fault> {
        let bytes = usize::from(access.bytes);
        let meets = if write {
            races.write(self.owner, address, bytes)
        } else {
            races.read(self.owner, address, bytes)
        };
        match meets {
            None => Ok(()),
            Some((byte, other)) => Err(Fault::Race {
                access: if write { "write" } else { "read" },
                region: self.name(access),
                other,
                byte,
            }),
        }
    }

    /// Reads `N` bytes.
    #[inline(always)]
    pub(super) fn load<const N: usize>(
        &self,
        access: Access,
        scalars: &[u32],
    ) -> Result<[u8; N], Fault> {
        let address = self.address(access, scalars, false)?;
        debug_assert_eq!(N, usize::from(access.bytes));
        // SAFETY: `address` vouches for `access.bytes` bytes, which are N. Other items may write elsewhere only.
        Ok(unsafe { address.cast::<[u8; N]>().read_unaligned() })
    }

    /// Writes `N` bytes.
    #[inline(always)]
    pub(super) fn store<const N: usize>(
        &self,
        access: Access,
        scalars: &[u32],
        bytes: [u8; N],
    ) -> Result<(), Fault> {
        let address = self.address(access, scalars, true)?;
        debug_assert_eq!(N, usize::from(access.bytes));
        // SAFETY: as in `load`; the verifier lets stores reach only mutable regions, and items of one phase write
        // disjoint memory by the contract of the IR.
        unsafe { address.cast::<[u8; N]>().write_unaligned(bytes) };
        Ok(())
    }

    #[cold]
    fn out_of_range(&self, access: Access, index: i32, count: i64) -> Fault {
        Fault::OutOfRange {
            region: self.name(access),
            index,
            count,
            len: self.regions[usize::from(access.region)].len,
        }
    }

    fn name(&self, access: Access) -> String {
        match &self.params[usize::from(access.region)] {
            ParamInfo::Region { name, .. } => name.clone(),
            _ => String::new(),
        }
    }
}

impl Region {
    /// Stands for a parameter that is no region; nothing lies in it.
    const fn none() -> Self {
        Self {
            base: std::ptr::null_mut(),
            kv: None,
            len: 0,
            elem: 1,
            shared: false,
        }
    }
}
