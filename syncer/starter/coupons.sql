/* sync
description: Coupons that can be redeemed, for use in messages
owner: growth
tags: [shop]
entity: collection
collection: coupons
key: code
schedule: {cron: "0 6 * * *"}
timezone: Europe/Berlin
*/
SELECT
    code,
    description,
    percent_off,
    countries,
    valid_until
FROM coupons
WHERE NOT withdrawn
