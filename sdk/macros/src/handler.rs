use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, Type};

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

/// The handler as it was written, with its export or with what is wrong about it.
pub fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    match glue(kind, arguments, item.clone()) {
        Ok(glue) => quote! { #item #glue },
        Err(error) => {
            let error = error.into_compile_error();
            quote! { #item #error }
        }
    }
}

fn glue(kind: Kind, arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let attribute = kind.attribute();
    let item_span = item.span();
    let function: ItemFn = syn::parse2(item).map_err(|_| {
        Error::new(
            item_span,
            format!("`{attribute}` belongs on a function; {}", kind.expected()),
        )
    })?;
    if !arguments.is_empty() {
        let message = format!("`{attribute}` takes no arguments: the manifest says what wakes it");
        return Err(Error::new_spanned(arguments, message));
    }
    let event = check_signature(kind, &function)?;

    let name = &function.sig.ident;
    let once = once(&format!("{attribute}_handler"), name.span());
    let check = check(kind, &function, event);
    let export = export(kind);
    Ok(quote! {
        #once
        const _: () = {
            #check
            #export
        };
    })
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

/// `__handle`: calls the handler with the SDK's types, on every target, so that a native build reports
/// the errors of a component's, and doesn't think the handler unused.
fn check(kind: Kind, function: &ItemFn, event: &Type) -> TokenStream {
    let name = &function.sig.ident;
    // Errors point at what the compiler finds wanting.
    let returned = match &function.sig.output {
        syn::ReturnType::Default => name.span(),
        syn::ReturnType::Type(_, ty) => ty.span(),
    };
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
