use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, LitStr, Result, Token, Type, parse_quote};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ObjectCreated,
    Message,
    MessageBatch,
    Http,
}

/// The event types of the SDK: a handler of another kind's is told so by name.
const EVENTS: [&str; 4] = ["ObjectCreated", "Message", "Batch", "Request"];

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::ObjectCreated => "object_created",
            Self::Message => "message",
            Self::MessageBatch => "message_batch",
            Self::Http => "http",
        }
    }

    fn events(self) -> &'static [&'static str] {
        match self {
            Self::ObjectCreated => &["ObjectCreated"],
            Self::Message => &["Message"],
            Self::MessageBatch => &["Message", "Batch"],
            Self::Http => &["Request"],
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::ObjectCreated => "expected `fn(event: ObjectCreated) -> Result<(), Failure>`",
            Self::Message => "expected `fn(event: Message) -> Result<(), Failure>`",
            Self::MessageBatch => {
                "expected `fn(event: Message) -> Result<(), Failure>`, or \
                 `fn(batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure>`"
            }
            Self::Http => "expected `fn(request: Request) -> Result<Response, Failure>`",
        }
    }
}

/// The handler as it was written, with its export or with what is wrong about it. A handler with
/// routes begins with a look at the request's path.
pub fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    match glue(kind, arguments, item.clone()) {
        Ok((function, glue)) => {
            let item = function.map_or(item, |function| quote! { #function });
            quote! { #item #glue }
        }
        Err(error) => {
            let error = error.into_compile_error();
            quote! { #item #error }
        }
    }
}

/// Returns the function where it isn't as it was written, and what comes beside it.
fn glue(
    kind: Kind,
    arguments: TokenStream,
    item: TokenStream,
) -> Result<(Option<ItemFn>, TokenStream)> {
    let attribute = kind.attribute();
    let item_span = item.span();
    let function: ItemFn = syn::parse2(item).map_err(|_| {
        Error::new(
            item_span,
            format!("`{attribute}` belongs on a function; {}", kind.expected()),
        )
    })?;
    let routes = match kind {
        Kind::Http => routes(arguments)?,
        _ if arguments.is_empty() => Vec::new(),
        _ => {
            let message =
                format!("`{attribute}` takes no arguments: the manifest says what wakes it");
            return Err(Error::new_spanned(arguments, message));
        }
    };
    let event = check_signature(kind, &function)?;

    let name = &function.sig.ident;
    let once = once(&format!("{attribute}_handler"), name.span());
    let check = check(kind, &function, event);
    let export = export(kind);
    let note = note(&routes);
    let glue = quote! {
        #once
        const _: () = {
            #check
            #export
            #note
        };
    };
    let routed = (!routes.is_empty()).then(|| routed(function, &routes));
    Ok((routed, glue))
}

/// Reads the routes of the attribute `http`.
fn routes(arguments: TokenStream) -> Result<Vec<LitStr>> {
    let parse = Punctuated::<LitStr, Token![,]>::parse_terminated;
    let routes = parse.parse2(arguments).map_err(|error| {
        Error::new(
            error.span(),
            "`http` takes routes, each a literal text: `#[kinglet_sdk::http(\"/users/{id}\")]`",
        )
    })?;
    let mut seen: Vec<(String, String)> = Vec::new();
    for literal in &routes {
        let text = literal.value();
        let route = kinglet_route::Route::parse(&text)
            .map_err(|invalid| Error::new_spanned(literal, invalid))?;
        let pattern = route.pattern();
        if let Some((_, other)) = seen.iter().find(|(other, _)| *other == pattern) {
            let message = format!("{text:?} stands for the same paths as {other:?}; remove one");
            return Err(Error::new_spanned(literal, message));
        }
        seen.push((pattern, text));
    }
    Ok(routes.into_iter().collect())
}

/// Has a function begin with a look at the request's path: one that no route matches is answered at
/// once.
fn routed(mut function: ItemFn, routes: &[LitStr]) -> ItemFn {
    let Some(FnArg::Typed(input)) = function.sig.inputs.first_mut() else {
        return function;
    };
    let given = std::mem::replace(&mut *input.pat, parse_quote!(__request));
    let event = input.ty.span();
    let request = quote_spanned! { event => __request };
    let unrouted = quote_spanned! { returned(&function) => ::kinglet_sdk::__private::unrouted };
    let statements = &function.block.stmts;
    function.block = parse_quote!({
        let #given = match ::kinglet_sdk::__private::routed(#request, &[#(#routes),*]) {
            ::core::result::Result::Ok(__request) => __request,
            ::core::result::Result::Err(__response) => {
                return #unrouted(__response);
            }
        };
        #(#statements)*
    });
    function
}

/// Notes the routes in the component, so that `kinglet check` can compare them with the manifest's.
fn note(routes: &[LitStr]) -> TokenStream {
    if routes.is_empty() {
        return TokenStream::new();
    }
    let lines: String = routes.iter().map(|route| route.value() + "\n").collect();
    let lines = syn::LitByteStr::new(lines.as_bytes(), Span::call_site());
    quote! { ::kinglet_sdk::__note_routes!(#lines); }
}

/// What can be told from the text alone; types are left to the compiler. Gives the event's type.
fn check_signature(kind: Kind, function: &ItemFn) -> Result<&Type> {
    let signature = &function.sig;
    let refuse = |tokens: &dyn quote::ToTokens, what: &str| {
        Err(Error::new_spanned(
            tokens,
            format!("{what}; {}", kind.expected()),
        ))
    };

    if let Some(keyword) = &signature.asyncness {
        return refuse(
            keyword,
            "a handler isn't `async`: capabilities block, and nothing else waits",
        );
    }
    if let Some(keyword) = &signature.unsafety {
        return refuse(keyword, "a handler isn't `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "a handler is a plain Rust function, without `extern`");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "a handler has no generic parameters");
    }
    let mut inputs = signature.inputs.iter();
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        if signature.inputs.is_empty() {
            return refuse(&signature.ident, "a handler takes its event");
        }
        return refuse(
            &signature.inputs,
            "a handler takes its event and nothing else",
        );
    };
    let FnArg::Typed(input) = input else {
        return refuse(input, "a handler isn't a method");
    };
    let event = without_group(&input.ty);
    if let Type::Reference(reference) = event {
        return refuse(reference, "a handler takes its event by value");
    }
    if let Some(given) = known_event(event)
        && !kind.events().contains(&given)
    {
        return refuse(
            event,
            &format!("`{}` doesn't handle `{given}`", kind.attribute()),
        );
    }
    Ok(event)
}

fn without_group(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => without_group(&group.elem),
        Type::Paren(paren) => without_group(&paren.elem),
        other => other,
    }
}

fn known_event(ty: &Type) -> Option<&'static str> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    EVENTS.into_iter().find(|event| last.ident == event)
}

/// An item that clashes with that of a second one of `what`, wherever in the crate it is: exported macros
/// share one namespace. Without it, the linker would complain of a duplicate symbol.
pub fn once(what: &str, at: Span) -> TokenStream {
    let name = format_ident!("__kinglet_allows_one_{what}_per_crate", span = at);
    quote! {
        #[doc(hidden)]
        #[allow(non_local_definitions)]
        #[macro_export]
        macro_rules! #name { () => {}; }
    }
}

/// Returns the place of errors about a function's result.
fn returned(function: &ItemFn) -> Span {
    match &function.sig.output {
        syn::ReturnType::Default => function.sig.ident.span(),
        syn::ReturnType::Type(_, ty) => ty.span(),
    }
}

/// `__handle`: calls the handler with the SDK's types, on every target, so that a native build reports
/// the errors of a component's, and doesn't think the handler unused.
fn check(kind: Kind, function: &ItemFn, event: &Type) -> TokenStream {
    let name = &function.sig.ident;
    let returned = returned(function);
    let event_type = match kind {
        Kind::ObjectCreated => quote_spanned! { event.span() => ::kinglet_sdk::ObjectCreated },
        Kind::Message => quote_spanned! { event.span() => ::kinglet_sdk::Message },
        Kind::Http => quote_spanned! { event.span() => ::kinglet_sdk::Request },
        Kind::MessageBatch => {
            let call = quote_spanned! { name.span() => #name };
            return quote! {
                #[allow(dead_code)]
                fn __handle(
                    __batch: ::kinglet_sdk::Batch,
                ) -> ::core::result::Result<
                    ::std::vec::Vec<::core::result::Result<(), ::kinglet_sdk::Failure>>,
                    ::kinglet_sdk::Failure,
                > {
                    ::kinglet_sdk::__private::many(#call, __batch)
                }
            };
        }
    };
    // Not a name that the handler itself may have.
    let event = quote_spanned! { event.span() => __event };
    let outcome = quote_spanned! { returned => __outcome };
    let (given, convert) = match kind {
        Kind::Http => (
            quote! { ::kinglet_sdk::Response },
            quote! { ::kinglet_sdk::__private::answered },
        ),
        _ => (quote! { () }, quote! { ::kinglet_sdk::__private::one }),
    };
    quote! {
        #[allow(dead_code)]
        fn __handle(
            __event: #event_type,
        ) -> ::core::result::Result<#given, ::kinglet_sdk::Failure> {
            let __outcome = #name(#event);
            #convert(#outcome)
        }
    }
}

/// The component's export; nothing natively.
fn export(kind: Kind) -> TokenStream {
    let private = quote! { ::kinglet_sdk::__private };
    let (world, interface, export_macro) = match kind {
        Kind::ObjectCreated => (
            "object_function",
            quote! { kinglet::events::object_created },
            "__export_object_created",
        ),
        Kind::Message => (
            "message_function",
            quote! { kinglet::events::message },
            "__export_message",
        ),
        Kind::MessageBatch => (
            "batch_function",
            quote! { kinglet::events::message_batch },
            "__export_message_batch",
        ),
        Kind::Http => (
            "http_function",
            quote! { wasi::http::incoming_handler },
            "__export_http",
        ),
    };
    let world = format_ident!("{world}");
    let export_macro = format_ident!("{export_macro}");
    let body = match kind {
        Kind::ObjectCreated => quote! {
            fn handle(
                event: #private::types::ObjectCreatedEvent,
            ) -> ::core::result::Result<(), #private::types::Failure> {
                #private::done(__handle(#private::object_created(event))).map_err(#private::failure)
            }
        },
        Kind::Message => quote! {
            fn handle(
                event: #private::types::MessageEvent,
            ) -> ::core::result::Result<(), #private::types::Failure> {
                #private::done(__handle(#private::message(event))).map_err(#private::failure)
            }
        },
        Kind::MessageBatch => quote! {
            fn handle(
                batch: ::std::vec::Vec<#private::types::MessageEvent>,
            ) -> ::core::result::Result<
                ::std::vec::Vec<::core::result::Result<(), #private::types::Failure>>,
                #private::types::Failure,
            > {
                match #private::done(__handle(#private::batch(batch))) {
                    ::core::result::Result::Ok(results) => ::core::result::Result::Ok(
                        results
                            .into_iter()
                            .map(|result| result.map_err(#private::failure))
                            .collect(),
                    ),
                    ::core::result::Result::Err(failure) => {
                        ::core::result::Result::Err(#private::failure(failure))
                    }
                }
            }
        },
        Kind::Http => quote! {
            fn handle(
                request: #private::http_types::IncomingRequest,
                out: #private::http_types::ResponseOutparam,
            ) {
                #private::respond(request, out, __handle);
                #private::done(());
            }
        },
    };
    quote! {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct __Handler;
            impl #private::#world::exports::#interface::Guest for __Handler {
                #body
            }
            #private::#world::#export_macro!(__Handler with_types_in #private::#world);
        };
    }
}
