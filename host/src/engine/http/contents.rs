//! Memory that handles of `wasi:http` hold in the host. It counts for the function that fills them,
//! and a part of a request that is longer than HTTP carries is refused. Functions of ours stand
//! before those of wasmtime that fill a handle.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_http::p2::bindings::http::types::{self as two, HostOutgoingBody as _};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};
use wasmtime_wasi_http::p3::bindings::http::types as three;
use wasmtime_wasi_http::{FieldMap, WasiHttpView, p3};

use crate::engine::limiter::{Buffered, HostBuffers};
use crate::engine::state::State;
use crate::guard::{self, Guard};

/// The longest method, in bytes. The longest one that is registered has 17.
const METHOD_BYTES: usize = 256;
/// The longest authority, in bytes: a name has at most 255, and may have a user before it and a
/// port behind it.
const AUTHORITY_BYTES: usize = 8 << 10;
/// The longest path with its query, in bytes: as much as all fields may take.
const PATH_BYTES: usize = 64 << 10;

/// Memory of a map of fields for each name that it has room for, in bytes.
const FIELD: usize = 112;
/// Memory of each further value of a name, in bytes.
const VALUE: usize = 144;
/// Memory of each allocation beside its text, in bytes.
const TEXT: usize = 16;

/// Puts functions that count first in the place of wasmtime's.
pub(super) fn link(linker: &mut Linker<State>, concurrent: bool) -> wasmtime::Result<()> {
    link_two(linker)?;
    if concurrent {
        link_three(linker)?;
    }
    Ok(())
}

type Entries = Vec<(String, Vec<u8>)>;

fn bytes_of_entries(entries: &Entries) -> usize {
    entries
        .iter()
        .map(|(name, value)| name.len() + value.len() + FIELD)
        .sum()
}

fn bytes_of_values(values: &[Vec<u8>]) -> usize {
    values.iter().map(|value| value.len() + FIELD).sum()
}

/// Returns whether a part of a request may be so long.
fn is_short(bytes: usize, most: usize) -> bool {
    bytes <= guard::bound(Guard::RequestParts, most)
}

/// Turns the result of an operation into the one that the guest gets; a trap ends the call.
macro_rules! header_result {
    ($result:expr) => {
        match $result {
            Ok(done) => Ok(done),
            Err(error) => Err(error.downcast()?),
        }
    };
}

/// Functions of `wasi:http/types` whose names and types are the same in 0.2 and in 0.3.
macro_rules! link_common {
    ($types:ident, $version:ident, $request:ty, $name:literal, $host:ident) => {
        $types.func_wrap(
            "[static]fields.from-list",
            |mut store: StoreContextMut<'_, State>, (entries,): (Entries,)| {
                store.data_mut().give(bytes_of_entries(&entries))?;
                let made = $version::HostFields::from_list(&mut store.data_mut().http(), entries);
                Ok((header_result!(made),))
            },
        )?;
        $types.func_wrap(
            "[method]fields.set",
            |mut store: StoreContextMut<'_, State>,
             (fields, name, values): (Resource<FieldMap>, String, Vec<Vec<u8>>)| {
                let bytes = name.len() + bytes_of_values(&values);
                store.data_mut().give(bytes)?;
                let http = &mut store.data_mut().http();
                let set = $version::HostFields::set(http, fields, name, values);
                Ok((header_result!(set),))
            },
        )?;
        $types.func_wrap(
            "[method]fields.append",
            |mut store: StoreContextMut<'_, State>,
             (fields, name, value): (Resource<FieldMap>, String, Vec<u8>)| {
                store.data_mut().give(name.len() + value.len())?;
                let http = &mut store.data_mut().http();
                let appended = $version::HostFields::append(http, fields, name, value);
                Ok((header_result!(appended),))
            },
        )?;
        // The first change of a copy has it take as much as the original.
        $types.func_wrap(
            "[method]fields.clone",
            |mut store: StoreContextMut<'_, State>, (fields,): (Resource<FieldMap>,)| {
                let held = bytes_of_map(store.data_mut().http().table.get(&fields)?);
                store.data_mut().give(held)?;
                let http = &mut store.data_mut().http();
                Ok(($version::HostFields::clone(http, fields)?,))
            },
        )?;
        $types.func_wrap(
            concat!("[method]", $name, ".set-method"),
            |mut store: StoreContextMut<'_, State>,
             (request, method): (Resource<$request>, $version::Method)| {
                let bytes = match &method {
                    $version::Method::Other(method) => method.len(),
                    _ => 0,
                };
                if !is_short(bytes, METHOD_BYTES) {
                    return Ok((Err(()),));
                }
                store.data_mut().give(bytes)?;
                let http = &mut store.data_mut().http();
                Ok(($version::$host::set_method(http, request, method)?,))
            },
        )?;
        $types.func_wrap(
            concat!("[method]", $name, ".set-path-with-query"),
            |mut store: StoreContextMut<'_, State>,
             (request, path): (Resource<$request>, Option<String>)| {
                let bytes = path.as_ref().map_or(0, String::len);
                if !is_short(bytes, PATH_BYTES) {
                    return Ok((Err(()),));
                }
                store.data_mut().give(bytes)?;
                let http = &mut store.data_mut().http();
                let set = $version::$host::set_path_with_query(http, request, path);
                Ok((set?,))
            },
        )?;
        $types.func_wrap(
            concat!("[method]", $name, ".set-scheme"),
            |mut store: StoreContextMut<'_, State>,
             (request, scheme): (Resource<$request>, Option<$version::Scheme>)| {
                let bytes = match &scheme {
                    Some($version::Scheme::Other(scheme)) => scheme.len(),
                    _ => 0,
                };
                if !is_short(bytes, METHOD_BYTES) {
                    return Ok((Err(()),));
                }
                store.data_mut().give(bytes)?;
                let http = &mut store.data_mut().http();
                Ok(($version::$host::set_scheme(http, request, scheme)?,))
            },
        )?;
        $types.func_wrap(
            concat!("[method]", $name, ".set-authority"),
            |mut store: StoreContextMut<'_, State>,
             (request, authority): (Resource<$request>, Option<String>)| {
                let bytes = authority.as_ref().map_or(0, String::len);
                if !is_short(bytes, AUTHORITY_BYTES) {
                    return Ok((Err(()),));
                }
                store.data_mut().give(bytes)?;
                let http = &mut store.data_mut().http();
                Ok(($version::$host::set_authority(http, request, authority)?,))
            },
        )?;
    };
}

fn link_two(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    link_common!(
        types,
        two,
        HostOutgoingRequest,
        "outgoing-request",
        HostOutgoingRequest
    );
    types.func_wrap("[method]outgoing-body.write", write)?;
    types.func_wrap("[static]outgoing-body.finish", finish)
}

fn link_three(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut types = linker.instance("wasi:http/types@0.3.0")?;
    link_common!(types, three, p3::Request, "request", HostRequest);
    Ok(())
}

/// The pieces of a guest's first body are part of what each instance takes; those of others are
/// counted.
fn write(
    mut store: StoreContextMut<'_, State>,
    (body,): (Resource<HostOutgoingBody>,),
) -> wasmtime::Result<(Result<Resource<DynOutputStream>, ()>,)> {
    let state = store.data_mut();
    if !std::mem::replace(&mut state.writes, true) {
        return Ok((state.http().write(body)?,));
    }
    let buffers = Arc::clone(state.limiter.buffers());
    let table = state.http().table;
    let Some(stream) = table.get_mut(&body)?.take_output_stream() else {
        return Ok((Err(()),));
    };
    let stream: DynOutputStream = Box::new(CountedStream { stream, buffers });
    Ok((Ok(table.push_child(stream, &body)?),))
}

fn finish(
    mut store: StoreContextMut<'_, State>,
    (body, trailers): (Resource<HostOutgoingBody>, Option<Resource<FieldMap>>),
) -> wasmtime::Result<(Result<(), two::ErrorCode>,)> {
    if let Some(trailers) = &trailers {
        let held = bytes_of_map(store.data_mut().http().table.get(trailers)?);
        store.data_mut().give_trailers(held as u64)?;
    }
    let finished = store.data_mut().http().finish(body, trailers);
    Ok((header_result!(finished),))
}

/// The stream of a body, whose pieces count until they are gone.
struct CountedStream {
    stream: DynOutputStream,
    buffers: Arc<HostBuffers>,
}

/// A piece of a body.
struct Piece {
    bytes: Bytes,
    _buffered: Buffered,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl OutputStream for CountedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let buffered = self.buffers.hold(bytes.len() as u64);
        let buffered = buffered.map_err(|full| StreamError::Trap(full.trap()))?;
        let piece = Piece {
            bytes,
            _buffered: buffered,
        };
        self.stream.write(Bytes::from_owner(piece))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }
}

#[async_trait::async_trait]
impl Pollable for CountedStream {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

/// Returns how many bytes the handles of a table hold. Fields that several handles share are
/// counted once.
pub(in crate::engine) fn contents_of(table: &mut ResourceTable) -> u64 {
    let mut seen = HashSet::new();
    let mut bytes = 0_usize;
    for entry in table.iter_mut() {
        let mut fields = |map: &HeaderMap| match seen.insert(std::ptr::from_ref(map)) {
            true => bytes_of_map(map),
            false => 0,
        };
        let held = if let Some(map) = entry.downcast_ref::<FieldMap>() {
            fields(map)
        } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
            let HostOutgoingRequest {
                method,
                scheme,
                authority,
                path_with_query,
                headers,
                ..
            } = request;
            let method = match method {
                two::Method::Other(method) => method.len(),
                _ => 0,
            };
            let scheme = match scheme {
                Some(two::Scheme::Other(scheme)) => scheme.len(),
                _ => 0,
            };
            let [authority, path] =
                [authority, path_with_query].map(|part| part.as_ref().map_or(0, String::len));
            method + scheme + authority + path + fields(headers)
        } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
            fields(&response.headers)
        } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
            fields(&response.headers)
        } else if let Some(HostFutureIncomingResponse::Ready(Ok((response, _)))) =
            entry.downcast_ref()
        {
            bytes_of_map(response.headers())
        } else if let Some(HostFutureTrailers::Done(Ok(Some(map)))) = entry.downcast_ref() {
            bytes_of_map(map)
        } else if let Some(request) = entry.downcast_ref::<p3::Request>() {
            let authority = request.authority.as_ref();
            let path = request.path_with_query.as_ref();
            request.method.as_str().len()
                + authority.map_or(0, |authority| authority.as_str().len())
                + path.map_or(0, |path| path.as_str().len())
                + fields(&request.headers)
        } else if let Some(response) = entry.downcast_ref::<p3::Response>() {
            fields(&response.headers)
        } else {
            0
        };
        bytes = bytes.saturating_add(held);
    }
    bytes as u64
}

/// Returns about how many bytes a map takes, with the room that it has.
fn bytes_of_map(map: &HeaderMap) -> usize {
    let names: usize = map.keys().map(|name| name.as_str().len() + TEXT).sum();
    let values: usize = map.values().map(|value| value.len() + TEXT).sum();
    let further = map.len().saturating_sub(map.keys_len());
    names + values + map.capacity() * FIELD + further * VALUE
}
