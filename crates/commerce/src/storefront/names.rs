//! The names of the served schema as numbers, so that a plan says which field is meant without comparing texts.
//!
//! A test holds both lists equal to what `schema.graphql` has.

/// Makes an enumeration of names, and both ways between name and text.
macro_rules! names {
    ($(#[$about:meta])* $name:ident; $($variant:ident $text:literal,)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(
            clippy::enum_variant_names,
            clippy::upper_case_acronyms,
            reason = "names as the published schema spells them"
        )]
        pub(crate) enum $name { $(#[doc = $text] $variant,)* }

        impl $name {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The one with this name.
            pub(crate) fn of(text: &str) -> Option<Self> {
                Some(match text { $($text => Self::$variant,)* _ => return None })
            }

            /// Its name.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

names! {
    /// A field of some type.
    Name;
    Typename "__typename", Schema "__schema", TypeOf "__type", AcceptedCardBrands "acceptedCardBrands",
    AcceptsMarketing "acceptsMarketing", AccessToken "accessToken", Address "address", Address1 "address1",
    Address2 "address2", Addresses "addresses", AdjacentVariants "adjacentVariants",
    AllocationMethod "allocationMethod", Alt "alt", AltText "altText", Amount "amount",
    AmountPerQuantity "amountPerQuantity", AmountUsed "amountUsed", Applicable "applicable",
    AppliedGiftCards "appliedGiftCards", Article "article", ArticleByHandle "articleByHandle",
    Articles "articles", Attribute "attribute", Attributes "attributes", AuthorV2 "authorV2",
    AvailableCountries "availableCountries", AvailableForSale "availableForSale",
    AvailableLanguages "availableLanguages", Background "background", Balance "balance", Barcode "barcode",
    Bio "bio", Blog "blog", BlogByHandle "blogByHandle", Blogs "blogs", Body "body", BodySummary "bodySummary",
    Brand "brand", BuyerIdentity "buyerIdentity", CanRemove "canRemove", CanUpdateQuantity "canUpdateQuantity",
    CardVaultUrl "cardVaultUrl", Cart "cart", CartAttributesUpdate "cartAttributesUpdate",
    CartBuyerIdentityUpdate "cartBuyerIdentityUpdate", CartCreate "cartCreate",
    CartDeliveryAddressesAdd "cartDeliveryAddressesAdd",
    CartDeliveryAddressesRemove "cartDeliveryAddressesRemove",
    CartDeliveryAddressesReplace "cartDeliveryAddressesReplace",
    CartDeliveryAddressesUpdate "cartDeliveryAddressesUpdate",
    CartDiscountCodesUpdate "cartDiscountCodesUpdate", CartGiftCardCodesAdd "cartGiftCardCodesAdd",
    CartGiftCardCodesRemove "cartGiftCardCodesRemove", CartGiftCardCodesUpdate "cartGiftCardCodesUpdate",
    CartLines "cartLines", CartLinesAdd "cartLinesAdd", CartLinesRemove "cartLinesRemove",
    CartLinesUpdate "cartLinesUpdate", CartMetafieldDelete "cartMetafieldDelete",
    CartMetafieldsSet "cartMetafieldsSet", CartNoteUpdate "cartNoteUpdate",
    CartSelectedDeliveryOptionsUpdate "cartSelectedDeliveryOptionsUpdate",
    CheckoutChargeAmount "checkoutChargeAmount", CheckoutUrl "checkoutUrl", City "city", Code "code",
    Collection "collection", CollectionByHandle "collectionByHandle", Collections "collections", Color "color",
    Colors "colors", Company "company", CompareAtAmountPerQuantity "compareAtAmountPerQuantity",
    CompareAtPrice "compareAtPrice", CompareAtPriceRange "compareAtPriceRange",
    CompareAtPriceV2 "compareAtPriceV2", Content "content", ContentHtml "contentHtml", Cost "cost",
    Count "count", Country "country", CountryCode "countryCode", CountryCodeV2 "countryCodeV2",
    CoverImage "coverImage", CreatedAt "createdAt", Currency "currency", CurrencyCode "currencyCode",
    CurrentlyNotInStock "currentlyNotInStock", Cursor "cursor", Customer "customer",
    CustomerAccessToken "customerAccessToken", CustomerAccessTokenCreate "customerAccessTokenCreate",
    CustomerAccessTokenDelete "customerAccessTokenDelete", CustomerAccessTokenRenew "customerAccessTokenRenew",
    CustomerCreate "customerCreate", CustomerUserErrors "customerUserErrors", DefaultAddress "defaultAddress",
    DefaultLanguage "defaultLanguage", DeletedAccessToken "deletedAccessToken",
    DeletedCustomerAccessTokenId "deletedCustomerAccessTokenId", DeletedId "deletedId", Delivery "delivery",
    DeliveryAddress "deliveryAddress", DeliveryGroups "deliveryGroups",
    DeliveryMethodType "deliveryMethodType", DeliveryOptions "deliveryOptions", Description "description",
    DescriptionHtml "descriptionHtml", DiscountAllocations "discountAllocations",
    DiscountApplication "discountApplication", DiscountCodes "discountCodes",
    DiscountedAmount "discountedAmount", DisplayName "displayName", Edges "edges", ElementIndex "elementIndex",
    Email "email", EnabledPresentmentCurrencies "enabledPresentmentCurrencies",
    EncodedVariantAvailability "encodedVariantAvailability", EncodedVariantExistence "encodedVariantExistence",
    EndCursor "endCursor", EndonymName "endonymName", EstimatedCost "estimatedCost", Excerpt "excerpt",
    ExcerptHtml "excerptHtml", ExpiresAt "expiresAt", FeaturedImage "featuredImage", Field "field",
    FirstName "firstName", FirstSelectableVariant "firstSelectableVariant", Foreground "foreground",
    Formatted "formatted", FormattedArea "formattedArea", GroupType "groupType", Handle "handle",
    HasNextPage "hasNextPage", HasPreviousPage "hasPreviousPage", Height "height", Host "host", Id "id",
    Image "image", Images "images", Increment "increment", Instructions "instructions",
    IsGiftCard "isGiftCard", IsoCode "isoCode", Items "items", ItemsCount "itemsCount", Key "key",
    Language "language", LastCharacters "lastCharacters", LastName "lastName", LineComponents "lineComponents",
    Lines "lines", Localization "localization", Logo "logo", Market "market",
    MaxVariantPrice "maxVariantPrice", Maximum "maximum", MeasuredType "measuredType", Media "media",
    MediaContentType "mediaContentType", Menu "menu", Merchandise "merchandise", Message "message",
    Metafield "metafield", Metafields "metafields", MinVariantPrice "minVariantPrice", Minimum "minimum",
    MoneyFormat "moneyFormat", Name "name", Namespace "namespace", Node "node", Nodes "nodes", Note "note",
    NumberOfOrders "numberOfOrders", OneTimeUse "oneTimeUse", OnlineStoreUrl "onlineStoreUrl",
    OptionValues "optionValues", Options "options", Page "page", PageByHandle "pageByHandle",
    PageInfo "pageInfo", Pages "pages", Parent "parent", ParentRelationship "parentRelationship",
    PaymentSettings "paymentSettings", Percentage "percentage", Phone "phone", Precision "precision",
    PredictiveSearch "predictiveSearch", PresentmentAmountUsed "presentmentAmountUsed",
    PreviewImage "previewImage", Price "price", PriceRange "priceRange", PriceV2 "priceV2", Primary "primary",
    PrimaryDomain "primaryDomain", PrivacyPolicy "privacyPolicy", Product "product",
    ProductByHandle "productByHandle", ProductRecommendations "productRecommendations",
    ProductTags "productTags", ProductType "productType", ProductTypes "productTypes", Products "products",
    Province "province", ProvinceCode "provinceCode", PublicApiVersions "publicApiVersions",
    PublishedAt "publishedAt", Quantity "quantity", QuantityAvailable "quantityAvailable",
    QuantityRule "quantityRule", QuantityUnit "quantityUnit", QuantityValue "quantityValue", Queries "queries",
    ReferenceUnit "referenceUnit", ReferenceValue "referenceValue", RefundPolicy "refundPolicy",
    RequiresComponents "requiresComponents", RequiresSellingPlan "requiresSellingPlan",
    RequiresShipping "requiresShipping", ResourceId "resourceId", Search "search", Secondary "secondary",
    Selected "selected", SelectedDeliveryOption "selectedDeliveryOption", SelectedOptions "selectedOptions",
    SelectedOrFirstAvailableVariant "selectedOrFirstAvailableVariant", Seo "seo",
    ShippingPolicy "shippingPolicy", ShipsToCountries "shipsToCountries", Shop "shop",
    ShopifyPaymentsAccountId "shopifyPaymentsAccountId", ShortDescription "shortDescription", Sku "sku",
    Slogan "slogan", SquareLogo "squareLogo", SslEnabled "sslEnabled", StartCursor "startCursor",
    StyledText "styledText", SubscriptionPolicy "subscriptionPolicy", SubtotalAmount "subtotalAmount",
    SubtotalAmountEstimated "subtotalAmountEstimated", Supported "supported",
    SupportedDigitalWallets "supportedDigitalWallets", Swatch "swatch", Symbol "symbol", Tags "tags",
    Target "target", TargetSelection "targetSelection", TargetType "targetType", Taxable "taxable",
    TermsOfService "termsOfService", Text "text", Title "title", TotalAmount "totalAmount",
    TotalAmountEstimated "totalAmountEstimated", TotalCount "totalCount", TotalDutyAmount "totalDutyAmount",
    TotalDutyAmountEstimated "totalDutyAmountEstimated", TotalInventory "totalInventory",
    TotalQuantity "totalQuantity", TotalTaxAmount "totalTaxAmount",
    TotalTaxAmountEstimated "totalTaxAmountEstimated", TrackingParameters "trackingParameters", Type "type",
    UnitPrice "unitPrice", UnitPriceMeasurement "unitPriceMeasurement", UnitSystem "unitSystem",
    UpdatedAt "updatedAt", Url "url", UserErrors "userErrors", Value "value", Values "values",
    VariantBySelectedOptions "variantBySelectedOptions", Variants "variants", VariantsCount "variantsCount",
    Vendor "vendor", Warnings "warnings", Weight "weight", WeightUnit "weightUnit", Width "width", Zip "zip",
}

names! {
    /// A type that things can be of: no interfaces, no unions.
    Type;
    QueryRoot "QueryRoot", Mutation "Mutation", Article "Article", ArticleAuthor "ArticleAuthor",
    ArticleConnection "ArticleConnection", ArticleEdge "ArticleEdge", Blog "Blog",
    BlogConnection "BlogConnection", BlogEdge "BlogEdge", Page "Page", PageConnection "PageConnection",
    PageEdge "PageEdge", Brand "Brand", BrandColors "BrandColors", BrandColorGroup "BrandColorGroup",
    Collection "Collection", CollectionConnection "CollectionConnection", CollectionEdge "CollectionEdge",
    Domain "Domain", Image "Image", ImageConnection "ImageConnection", ImageEdge "ImageEdge",
    MediaConnection "MediaConnection", MediaEdge "MediaEdge", MediaImage "MediaImage", Menu "Menu",
    MenuItem "MenuItem", MoneyV2 "MoneyV2", PageInfo "PageInfo",
    PredictiveSearchResult "PredictiveSearchResult", Product "Product", ProductConnection "ProductConnection",
    ProductEdge "ProductEdge", ProductOption "ProductOption", ProductOptionValue "ProductOptionValue",
    ProductOptionValueSwatch "ProductOptionValueSwatch", ProductPriceRange "ProductPriceRange",
    ProductVariant "ProductVariant", ProductVariantConnection "ProductVariantConnection",
    ProductVariantEdge "ProductVariantEdge", QuantityRule "QuantityRule",
    UnitPriceMeasurement "UnitPriceMeasurement", Count "Count", SEO "SEO",
    SearchQuerySuggestion "SearchQuerySuggestion", SearchResultItemConnection "SearchResultItemConnection",
    SearchResultItemEdge "SearchResultItemEdge", SelectedOption "SelectedOption", Shop "Shop",
    ShopPolicy "ShopPolicy", ShopPolicyWithDefault "ShopPolicyWithDefault", PaymentSettings "PaymentSettings",
    StringConnection "StringConnection", StringEdge "StringEdge", ApiVersion "ApiVersion",
    Localization "Localization", Country "Country", Language "Language", Currency "Currency", Market "Market",
    Metafield "Metafield", Attribute "Attribute", Cart "Cart", CartLine "CartLine",
    ComponentizableCartLine "ComponentizableCartLine", CartLineInstructions "CartLineInstructions",
    CartLineParentRelationship "CartLineParentRelationship", CartCost "CartCost", CartLineCost "CartLineCost",
    CartBuyerIdentity "CartBuyerIdentity", CartDiscountCode "CartDiscountCode",
    AppliedGiftCard "AppliedGiftCard", CartCodeDiscountAllocation "CartCodeDiscountAllocation",
    CartDiscountApplication "CartDiscountApplication", PricingPercentageValue "PricingPercentageValue",
    BaseCartLineConnection "BaseCartLineConnection", BaseCartLineEdge "BaseCartLineEdge",
    CartDelivery "CartDelivery", CartSelectableAddress "CartSelectableAddress",
    CartDeliveryAddress "CartDeliveryAddress", CartDeliveryGroup "CartDeliveryGroup",
    CartDeliveryOption "CartDeliveryOption", CartDeliveryGroupConnection "CartDeliveryGroupConnection",
    CartDeliveryGroupEdge "CartDeliveryGroupEdge", CartUserError "CartUserError", CartWarning "CartWarning",
    Customer "Customer", MailingAddress "MailingAddress", MailingAddressConnection "MailingAddressConnection",
    MailingAddressEdge "MailingAddressEdge", CustomerAccessToken "CustomerAccessToken",
    CustomerUserError "CustomerUserError", UserError "UserError",
    MetafieldsSetUserError "MetafieldsSetUserError", MetafieldDeleteUserError "MetafieldDeleteUserError",
    CartAttributesUpdatePayload "CartAttributesUpdatePayload",
    CartBuyerIdentityUpdatePayload "CartBuyerIdentityUpdatePayload", CartCreatePayload "CartCreatePayload",
    CartDeliveryAddressesAddPayload "CartDeliveryAddressesAddPayload",
    CartDeliveryAddressesRemovePayload "CartDeliveryAddressesRemovePayload",
    CartDeliveryAddressesReplacePayload "CartDeliveryAddressesReplacePayload",
    CartDeliveryAddressesUpdatePayload "CartDeliveryAddressesUpdatePayload",
    CartDiscountCodesUpdatePayload "CartDiscountCodesUpdatePayload",
    CartGiftCardCodesAddPayload "CartGiftCardCodesAddPayload",
    CartGiftCardCodesRemovePayload "CartGiftCardCodesRemovePayload",
    CartGiftCardCodesUpdatePayload "CartGiftCardCodesUpdatePayload", CartLinesAddPayload "CartLinesAddPayload",
    CartLinesRemovePayload "CartLinesRemovePayload", CartLinesUpdatePayload "CartLinesUpdatePayload",
    CartMetafieldDeletePayload "CartMetafieldDeletePayload",
    CartMetafieldsSetPayload "CartMetafieldsSetPayload", CartNoteUpdatePayload "CartNoteUpdatePayload",
    CartSelectedDeliveryOptionsUpdatePayload "CartSelectedDeliveryOptionsUpdatePayload",
    CustomerAccessTokenCreatePayload "CustomerAccessTokenCreatePayload",
    CustomerAccessTokenDeletePayload "CustomerAccessTokenDeletePayload",
    CustomerAccessTokenRenewPayload "CustomerAccessTokenRenewPayload",
    CustomerCreatePayload "CustomerCreatePayload",
}
