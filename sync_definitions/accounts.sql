/* sync
description: Companies with a subscription, and their monthly revenue
owner: growth
tags: [shop, b2b]
entity: object
object: {type: account, id: account_id}
schedule: every 1 hour
*/
SELECT
    account_id,
    name,
    plan,
    seats,
    CAST(seats * price_per_seat AS DECIMAL(12, 2)) AS mrr,
    billing.country AS country,
    created_on
FROM accounts
